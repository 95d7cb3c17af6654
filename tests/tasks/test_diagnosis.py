"""What a report says of a run is said in the words of its task."""

import pytest

from gateflow.flow import Finding
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.diagnosis import for_task
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.run import LanguageModelRun


@pytest.mark.parametrize(
    ("options", "for_agreement"),
    [
        ("--init chrono:60", "gateflow train agreement --init chrono:60"),
        ("--skip residual", ""),
        ("--window 64", ""),
        ("--lr 0.002 --clip auto", "gateflow train agreement --lr 0.002 --clip auto"),
        ("", ""),
    ],
)
def test_a_remedy_is_a_command_of_the_task_of_the_run(tmp_path, options, for_agreement):
    text, grammar = LanguageModelRun(tmp_path / "lm"), AgreementRun(tmp_path / "agreement")
    for run, config in (
        (text, LanguageModelConfig.build({"data": {"train": "x"}})),
        (grammar, AgreementConfig()),
    ):
        run.path.mkdir()
        run.config_file.write_text(config.to_toml())
    finding = Finding("name", "problem", "", "", {}, "", "", "init()", options)
    for_text = f"gateflow train lm {options}" if options else ""
    assert for_task(finding, text.config()).command == for_text
    assert for_task(finding, grammar.config()).command == for_agreement


def test_what_is_read_whole_is_given_no_longer_windows():
    finding = Finding("window-too-short", "problem", "", "", {}, "", "Make the windows longer.", "", "--window 64")
    told = for_task(finding, AgreementConfig())
    assert told.remedy.startswith("Examples are read whole here")
    assert (told.options, told.lines) == ("", ())
    assert for_task(finding, LanguageModelConfig.build({"data": {"train": "x"}})).remedy == finding.remedy


@pytest.mark.parametrize(
    ("options", "trained", "has"),
    [
        ("--init chrono:60", {"model": {"init": "chrono:60"}}, True),
        ("--init chrono:60", {"model": {"init": "chrono:80"}}, True),
        ("--init chrono:60", {"model": {"init": "chrono:35"}}, False),
        ("--init chrono:60", {"model": {"init": "forget:90"}}, False),
        ("--init identity", {"model": {"init": "identity"}}, True),
        ("--cell lstm", {"model": {"cell": "lstm"}}, True),
        ("--skip residual", {"model": {"skip": "residual"}}, True),
        ("--clip auto", {"training": {"clip": "auto"}}, True),
        ("--lr 0.002 --clip auto", {"training": {"clip": "auto"}}, False),
        ("--lr 0.002 --clip auto", {"training": {"clip": "auto", "lr": 0.001}}, True),
        ("--lr 0.002", {"training": {"lr": 0.004}}, False),
        ("--window 64", {"training": {"window": 64}}, True),
    ],
)
def test_what_a_run_has_is_no_remedy(options, trained, has):
    config = LanguageModelConfig.build({"data": {"train": "x"}, **trained})
    told = for_task(Finding("name", "problem", "", "", {}, "", "Do so.", "do()", options), config)
    assert (told.lines == ()) == has
    assert (f"has {options} already" in told.remedy) == has

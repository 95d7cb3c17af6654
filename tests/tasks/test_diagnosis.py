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
    assert for_task(finding, text.task(), text.kind).command == for_text
    assert for_task(finding, grammar.task(), grammar.kind).command == for_agreement

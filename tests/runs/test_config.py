"""Options from a file and from the command line, and what is said about those that cannot work."""

import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.errors import ConfigError, RunError
from gateflow.runs.config import FORMAT, task_of
from gateflow.tasks.language_model.config import LanguageModelConfig

DATA = {"train": "corpus.txt"}


def build(tmp_path, text=None, **options):
    file = None
    if text is not None:
        file = tmp_path / "mine.toml"
        file.write_text(text)
    return LanguageModelConfig.build({"data": DATA, **options}, file)


def test_options_typed_override_the_file(tmp_path):
    config = build(tmp_path, "[model]\nhidden_size = 7\nlayers = 3\n", model={"layers": 1})
    assert (config.model.hidden_size, config.model.layers) == (7, 1)


@given(hidden=st.integers(1, 4000), lr=st.floats(1e-8, 10), valid=st.none() | st.just("v.txt"), clip=st.just("auto"))
def test_what_is_written_is_read_back(hidden, lr, valid, clip, tmp_path_factory):
    training = {"lr": lr, "clip": clip}
    config = LanguageModelConfig.build(
        {"data": {**DATA, "valid": valid}, "model": {"hidden_size": hidden}, "training": training}
    )
    file = tmp_path_factory.mktemp("run") / "config.toml"
    file.write_text(config.to_toml(), encoding="utf-8")
    assert LanguageModelConfig.read(file) == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": {"hidden_size": 0}}, r"--hidden-size 0: input should be greater than or equal to 1"),
        ({"model": {"dropout": 1.0}}, r"--dropout 1.0: input should be less than 1"),
        ({"model": {"bidirectional": True}}, r"--bidirectional: a language model predicts the next token"),
        ({"model": {"init": "chrono"}}, r"--init chrono: chrono takes a number, as chrono:60"),
        ({"model": {"init": "chrono:long"}}, r"--init chrono:long: 'long' is no number"),
        ({"model": {"init": "xavier"}}, r"--init xavier: no such initial weights; there are orthogonal"),
        ({"model": {"skip": "dense"}}, r"--skip dense: there are residual, highway"),
        (
            {"data": {"train": "x", "tokenizer": "words"}},
            r"--tokenizer words: did you mean word. there are word, char, bpe",
        ),
        ({"training": {"clip": 0}}, r"--clip 0: neither a number above 0 nor auto"),
        ({"training": {"clip": "hard"}}, r"--clip hard: neither a number above 0 nor auto"),
        ({"training": {"lr": float("nan")}}, r"--lr nan: input should be"),
        ({"training": {"epochs": -1}}, r"--epochs -1: input should be greater than or equal to 1"),
        ({"data": {}}, r"--data is missing: give it on the command line or in the file of --config"),
    ],
)
def test_a_bad_option_is_named_as_it_was_typed(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(tmp_path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nhiden_size = 5\n", r"hiden_size in .*mine.toml: there is no such option; did you mean hidden_size"),
        ("[modell]\nhidden_size = 5\n", r"modell in .*mine.toml: there is no such option; did you mean model"),
        ("[model]\nhidden_size = 0\n", r"\[model\] hidden_size in .*mine.toml, 0: input should be greater"),
        ("[model]\nbidirectional = true\n", r"\[model\] bidirectional in .*mine.toml, True: a language model"),
        ("model = 3\n", r"model in .*mine.toml, 3: input should be a valid dictionary"),
        ("[model\n", r"mine.toml is not TOML: .*line 1"),
    ],
)
def test_a_bad_file_is_named_with_the_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, text)


def test_several_bad_options_are_counted(tmp_path):
    with pytest.raises(ConfigError, match=r"--hidden-size 0: .* \(1 more option is wrong\.\)$"):
        build(tmp_path, model={"hidden_size": 0, "layers": 0})


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"there is no configuration file nowhere.toml"):
        LanguageModelConfig.build({}, Path("nowhere.toml"))


def test_a_newer_run_is_refused_before_its_unknown_options_are(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(f"format = {FORMAT + 1}\n[quantum]\nqubits = 3\n")
    with pytest.raises(RunError, match=rf"run format {FORMAT + 1}, and this gateflow reads up to {FORMAT}.*Upgrade"):
        LanguageModelConfig.read(file)


WITHIN = "format = 1\n[data]\ntrain = 'x'\n"
HOSTILE = {
    "one key of many dots": "a" + ".a" * 30_000 + " = 1",
    "many keys of many dots": "\n".join(f"k{i}{'.a' * 490} = 1" for i in range(60)),
    "many tables of many dots": "\n".join(f"[k{i}{'.a' * 490}]" for i in range(60)),
    "more than a configuration has": "#" * 10**6,
    "nested lists": "a = " + "[" * 30_000,
    "nested tables": "a = " + "{a = " * 10_000,
    "a number of many digits": "format = " + "9" * 30_000,
    "a format of many digits": "format = 0x" + "f" * 60_000,
    "a negative format": "format = -1",
    "a format that is true": "format = true",
    "an option of many digits": WITHIN + "[training]\nepochs = 0x" + "f" * 60_000,
    "a date": "format = 2026-99-99",
    "thousands of options": WITHIN + "\n".join(f"[k{i}]" for i in range(5000)),
    "a long option": WITHIN + "k" * 60_000 + " = 1",
    "a long value": WITHIN + "tokenizer = '" + "k" * 60_000 + "'",
    "a terminal's escape": WITHIN + '"\\u001b[2J" = 1',
    "a list for a section": WITHIN + "model = [1]",
    "a date for a section": WITHIN + "model = 2026-01-01",
    "units": WITHIN + "[model]\nhidden_size = 1_000_000_000",
    "components": WITHIN + "[model]\nembedding_size = 1_000_000_000",
    "layers": WITHIN + "[model]\nlayers = 1_000_000_000",
    "words": WITHIN + "vocab_size = 1_000_000_000",
    "steps": WITHIN + "[training]\nwindow = 1_000_000_000",
    "columns": WITHIN + "[training]\nbatch_size = 1_000_000_000",
    "updates": WITHIN + "[training]\nmax_updates = 1" + "0" * 30,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_small_file_takes_little_memory_and_is_refused_in_one_line(tmp_path, name):
    file = tmp_path / "config.toml"
    file.write_text(HOSTILE[name])
    tracemalloc.start()
    with pytest.raises((ConfigError, RunError), match=r"config\.toml") as caught:
        LanguageModelConfig.read(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800
    assert peak < 200e6


def test_text_that_is_none_is_refused(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.toml is not TOML"):
        LanguageModelConfig.read(tmp_path / "config.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        LanguageModelConfig.build({}, tmp_path)


def test_options_of_older_versions_are_read_under_their_new_names(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("format = 1\n[data]\ntrain = 'x'\n[model]\ncandidates = 5\n[training]\nwindow = 7\n")
    config = LanguageModelConfig.read(file)
    assert (config.task, config.model.softmax_samples, config.training.window) == ("lm", 5, 7)
    assert "candidates" not in config.to_toml()
    assert task_of(file) == "lm"


def test_a_run_names_its_task(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(build(tmp_path).to_toml())
    assert task_of(file) == "lm"
    file.write_text("format = 2\ntask = 3\n")
    with pytest.raises(RunError, match="names 3 as its task, which is no name"):
        task_of(file)
    file.write_text("format = 2\ntask = 'tones'\n[data]\ntrain = 'x'\n")
    with pytest.raises(RunError, match="is a run of the task tones, and not of lm"):
        LanguageModelConfig.read(file)


def test_an_option_under_both_its_names_is_refused(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("format = 1\n[data]\ntrain = 'x'\n[model]\ncandidates = 5\nsoftmax_samples = 6\n")
    with pytest.raises(ConfigError, match=r"\[model\] candidates in .* is the old name of softmax_samples, which is"):
        LanguageModelConfig.read(file)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", "has no `format`, so"),
        ("format = '2'", 'has `format = "2"`, which is no version'),
        ("format = 0", "has `format = 0`, which"),
        ("format = true", "has `format = true`, which"),
        ("format = '\u2028'", 'has `format = "\\u2028"`, which'),
        ("[format]\na = 1", "has `format = ...`, which"),
        ("format = 0x" + "f" * 60_000, "has `format = a number of thousands of digits`, which"),
    ],
)
def test_a_format_that_is_none_is_told_as_it_was_found(tmp_path, line, found):
    (tmp_path / "config.toml").write_text(f"{line}\n")
    with pytest.raises(RunError, match="config.toml " + re.escape(found)):
        task_of(tmp_path / "config.toml")

"""Every option that a verb shows is one that it uses: what is typed is what the training reads."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap

import pytest
from tests.cli.conftest import SMALL
from tests.cli.test_app import LEAVES
from tests.tasks.transcriber.lines import write_images, write_sounds, write_strokes

from gateflow.cli import app
from gateflow.cli.train import train_command
from gateflow.runs.config import TrainingConfig
from gateflow.studies import compared
from gateflow.tasks import TASKS, description
from gateflow.tasks.classifier.config import (
    ClassifierNetworkConfig,
    ClassifierTraining,
    ExamplesConfig,
    TextsConfig,
)
from gateflow.tasks.classifier.config import SeriesConfig as ClassifierSeriesConfig
from gateflow.tasks.description import imported
from gateflow.tasks.forecaster.config import ForecasterNetworkConfig, ForecasterTraining, SeriesConfig
from gateflow.tasks.language_model.config import DataConfig, ModelConfig
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.tagger.config import SentencesConfig, TaggerNetworkConfig, TaggerTraining
from gateflow.tasks.transcriber.config import (
    ImagesConfig,
    LinesConfig,
    SoundsConfig,
    StrokesConfig,
    TranscriberNetworkConfig,
    TranscriberTraining,
)
from gateflow.tasks.translator.config import PairsConfig, TokensConfig, TranslatorNetworkConfig, TranslatorTraining

# Of a Transformer, below: with recurrent layers they would do nothing.
OF_TRANSFORMER = {"model", "heads"}

SECTIONS = (DataConfig, ModelConfig, TrainingConfig)
FIELDS = {name: field for section in SECTIONS for name, field in section.model_fields.items()}

# What is typed for each setting, never its default; together they make one training.
TYPED = {
    "tokenizer": "char",
    "vocab_size": 12,
    "cell": "gru",
    "embedding_size": 9,
    "hidden_size": 7,
    "layers": 2,
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "tied": False,
    "softmax_samples": 5,
    "skip": "residual",
    "init": "orthogonal",
    "batch_size": 3,
    "window": 6,
    "epochs": 1,
    "accumulate": 2,
    "optimizer": "sgd",
    "lr": 0.5,
    "schedule": "cosine",
    "warmup": 1,
    "weight_decay": 0.0625,
    "momentum": 0.75,
    "clip": 0.5,
    "non_finite_limit": 4,
    "precision": "bf16",
    "seed": 11,
    "max_updates": 4,
    "patience": 9,
    "average": 0.5,
    "log_every": 2,
    "validate_every": 3,
    "checkpoint_every": 2,
    "monitor": False,
    "tracker": "tensorboard",
}


def functions_of(words):
    """The functions behind a command, without what `with_settings` adds; those of the tasks for a task's verb."""
    if words[0] == "train":
        return [inspect.unwrap(train_command(description(words[1])))]
    if command := getattr(app, words[0], None):
        return [inspect.unwrap(command)]
    verbs = [verb for name in TASKS if (verb := description(name).verb(words[0]))]
    return [imported(verb.function) for verb in verbs]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_a_verb_reads_each_argument_of_its_own(words):
    for verb in functions_of(words):
        body = ast.parse(textwrap.dedent(inspect.getsource(verb))).body[0].body
        names = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
        assert set(inspect.signature(verb).parameters) <= {n.id for n in names if isinstance(n.ctx, ast.Load)}


def test_the_function_of_a_task_takes_each_option_of_its_verb():
    for task in map(description, TASKS):
        for verb in task.verbs:
            inspect.signature(imported(verb.function)).bind(None, **{option.name: None for option in verb.options})


def shown(words, gateflow, monkeypatch):
    """The settings that the help of a verb offers."""
    monkeypatch.setenv("COLUMNS", "200")
    text = gateflow(*words, "--help").out
    return {name for name in FIELDS if f"--{'data' if name == 'train' else name.replace('_', '-')} " in text}


def watched(monkeypatch, sections):
    """All that is read from sections of a configuration from now on, with its value."""
    found, names = set(), {name for section in sections for name in section.model_fields}

    def reading(section, name):
        value = object.__getattribute__(section, name)
        if name in names:
            found.add((name, value))
        return value

    for section in sections:
        monkeypatch.setattr(section, "__getattribute__", reading)
    return found


@pytest.fixture
def readings(monkeypatch):
    """All that is read from a language model's configuration, with its value."""
    return watched(monkeypatch, SECTIONS)


def flags(typed):
    for name, value in typed.items():
        flag = "--data" if name == "train" else "--" + name.replace("_", "-")
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag[2:]}"
        else:
            yield from (flag, value)


def test_all_settings_are_tried():
    refused, data = {"bidirectional", "context", *OF_TRANSFORMER}, {"train", "valid", "held_out"}
    assert TYPED.keys() | refused | data == FIELDS.keys()
    assert all(FIELDS[name].default != value for name, value in TYPED.items())


@pytest.mark.parametrize("words", [["train", "lm"], ["compare"]], ids=" ".join)
@pytest.mark.parametrize("validation", ["held_out", "valid"])
def test_what_is_typed_is_what_is_read(words, validation, gateflow, corpus, tmp_path, monkeypatch, readings):
    offered = shown(words, gateflow, monkeypatch)
    typed = {name: value for name, value in TYPED.items() if name in offered}
    typed |= {"train": corpus, validation: 0.25 if validation == "held_out" else corpus}
    own = {"out": tmp_path / "run"} if words == ["train", "lm"] else {"cells": "gru,elman", "updates": 2}
    result = gateflow(*words, *flags({**typed, **own}))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in readings, f"{' '.join(words)} shows {name} and never reads {value}"


def test_an_idle_switch_is_told_as_it_was_typed(gateflow, tmp_path):
    result = gateflow("train", "tagger", "--data", tmp_path / "a", "--out", tmp_path / "run", "--frozen")
    assert result.code == 2
    assert "--frozen would do nothing: it belongs to --embeddings" in result.err


# What is typed for a tagger beside the settings of the training; never a default.
TAGGER_TYPED = {
    "words": "1",
    "columns": "ner",
    "names": "word,ner",
    "scheme": "IOB2",
    "min_count": 2,
    "cell": "gru",
    "embedding_size": 3,
    "frozen": True,
    "characters": "cnn",
    "character_size": 4,
    "hidden_size": 5,
    "layers": 2,
    "bidirectional": False,
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "word_dropout": 0.3,
    "skip": "residual",
    "crf": True,
    "init": "orthogonal",
}


@pytest.mark.parametrize("validation", ["held_out", "valid"])
def test_what_is_typed_for_a_tagger_is_what_is_read(validation, gateflow, tmp_path, monkeypatch):
    sections = (SentencesConfig, TaggerNetworkConfig, TaggerTraining)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    training = {name: value for name, value in TYPED.items() if name in TaggerTraining.model_fields} | {"epochs": 2}
    training.pop("window")
    typed = TAGGER_TYPED | training
    # `from_lm` stands in the place of `embeddings`, and has tests/tasks/tagger/test_transfer.py.
    assert typed.keys() | {"train", "valid", "held_out", "group", "embeddings", "from_lm", "window"} == fields.keys()
    assert all(fields[name].default != value for name, value in typed.items())
    file, vectors = tmp_path / "train.conll", tmp_path / "words.vec"
    file.write_text("-DOCSTART-\tO\n\nTeddy\tB-PER\ncame\tO\n\nbears\tO\ncame\tO\n\n" * 9)
    vectors.write_text("teddy 1 2 3\ncame 3 2 1\n")
    typed |= {"train": file, "embeddings": vectors}
    typed |= {"held_out": 0.25, "group": "document"} if validation == "held_out" else {"valid": file}
    found = watched(monkeypatch, sections)
    result = gateflow("train", "tagger", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train tagger shows {name} and never reads {value}"


# Likewise for a classifier.
CLASSIFIER_TYPED = {
    "input": "text",
    "text": "2",
    "label": "1",
    "multi_label": True,
    "separator": ";",
    "folds": 2,
    "fold": 1,
    "stratified": False,
    "vocab_size": 5,
    "min_count": 2,
    "longest": 7,
    "cell": "gru",
    "embedding_size": 3,
    "frozen": True,
    "hidden_size": 5,
    "layers": 2,
    "bidirectional": False,
    "read_out": "mean",
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "word_dropout": 0.3,
    "skip": "residual",
    "init": "orthogonal",
    "class_weights": "balanced",
    "label_smoothing": 0.125,
    "threshold": 0.25,
    "metric": "macro_f1",
}


@pytest.mark.parametrize("validation", ["held_out", "valid"])
def test_what_is_typed_for_a_classifier_is_what_is_read(validation, gateflow, tmp_path, monkeypatch):
    sections = (ExamplesConfig, TextsConfig, ClassifierNetworkConfig, ClassifierTraining)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    training = {name: value for name, value in TYPED.items() if name in ClassifierTraining.model_fields} | {"epochs": 2}
    training.pop("window")
    typed = CLASSIFIER_TYPED | training
    # Vectors are of words, the default; `from_lm` stands in the place of `embeddings`.
    left_out = {"train", "valid", "held_out", "tokenizer", "embeddings", "from_lm", "window"}
    left_out |= {"regression", "per_step", "group"} | OF_TRANSFORMER  # of series and of a Transformer, below
    assert typed.keys() | left_out == fields.keys()
    assert all(fields[name].default != value for name, value in typed.items())
    file, vectors = tmp_path / "train.tsv", tmp_path / "words.vec"
    rows = [f"pos;fun\tterribly good {k}\nneg\tdull film {k}\n" for k in range(9)]
    file.write_text("".join(rows))
    (tmp_path / "valid.tsv").write_text("".join(rows).replace("\t", "\tso "))
    vectors.write_text("dull 1 2 3\nfilm 3 2 1\n")
    other = {"held_out": 0.25, "valid": tmp_path / "valid.tsv"}[validation]
    typed |= {"train": file, "embeddings": vectors, validation: other}
    found = watched(monkeypatch, sections)
    result = gateflow("train", "classifier", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train classifier shows {name} and never reads {value}"


# Likewise for a classifier of series.
OF_SERIES_TYPED = {
    "input": "series",
    "label": "state",
    "regression": True,
    "per_step": True,
    "group": "site",
    "longest": 99,
    "series": "name",
    "time": "hour",
    "channels": "load",
    "scale": "series",
    "missing": "cell",
    "cell": "gru_d",
    "epochs": 1,
}


def test_what_is_typed_for_a_classifier_of_series_is_what_is_read(gateflow, tmp_path, monkeypatch):
    # `order` is of images, and tried with them.
    assert ClassifierSeriesConfig.model_fields.keys() - {"order"} < OF_SERIES_TYPED.keys()
    rows = [f"{k},{h},{k * h + k},9,{h / 2},{k % 4}\n" for k in range(9) for h in range(5)]
    (tmp_path / "a.csv").write_text("name,hour,load,wind,state,site\n" + "".join(rows))
    found = watched(monkeypatch, (ExamplesConfig, ClassifierSeriesConfig, ClassifierTraining))
    typed = OF_SERIES_TYPED | {"train": tmp_path / "a.csv"}
    result = gateflow("train", "classifier", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert name == "cell" or (name, value) in found, f"train classifier shows {name} and never reads {value}"


# Likewise for a transcriber; never a default.
TRANSCRIBER_TYPED = {
    "input": "sound",
    "skip_bad": True,
    "longest": 999,
    "rate": 8000,
    "bands": 12,
    "frame": 0.03,
    "hop": 0.02,
    "top_db": 60.0,
    "centred": False,
    "deltas": True,
    "cell": "gru",
    "hidden_size": 5,
    "layers": 1,
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "skip": "residual",
    "init": "orthogonal",
    "front_size": 6,
    "reduce": "4",
    "bidirectional": False,
    "augment": False,
}
# Of the other kinds of lines, and what stands in the place of convolutions.
OF_OTHER_LINES = {"height", "ink", "spacing", "front"}


@pytest.mark.parametrize("validation", ["held_out", "valid"])
def test_what_is_typed_for_a_transcriber_is_what_is_read(validation, gateflow, tmp_path, monkeypatch):
    sections = (LinesConfig, ImagesConfig, SoundsConfig, StrokesConfig, TranscriberNetworkConfig, TranscriberTraining)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    training = {name: value for name, value in TYPED.items() if name in TranscriberTraining.model_fields} | {
        "epochs": 2
    }
    training.pop("window")
    typed = TRANSCRIBER_TYPED | training
    assert typed.keys() | OF_OTHER_LINES | {"train", "valid", "held_out", "window"} == fields.keys()
    assert all(fields[name].default != value for name, value in typed.items())
    lines = write_sounds(tmp_path / "lines", ["ab", "ba", "cab", "a b"] * 3)
    other = {"held_out": 0.25, "valid": write_sounds(tmp_path / "other", ["ab", "cab"], rate=8001)}[validation]
    typed |= {"train": lines, validation: other}
    found = watched(monkeypatch, sections)
    result = gateflow("train", "transcriber", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train transcriber shows {name} and never reads {value}"


@pytest.mark.parametrize("kind", ["image", "strokes"])
def test_what_is_typed_for_other_lines_is_what_is_read(kind, gateflow, tmp_path, monkeypatch):
    sections = (LinesConfig, ImagesConfig, StrokesConfig, TranscriberNetworkConfig, TranscriberTraining)
    words = ["ab", "ba", "cab", "a b"] * 3
    typed = {"input": kind, "epochs": 1, "front": "none", "layers": 1, "hidden_size": 5}
    if kind == "image":
        typed |= {"train": write_images(tmp_path / "lines", words), "height": 16, "ink": "dark"}
    else:
        typed |= {"train": write_strokes(tmp_path / "lines.jsonl", words), "spacing": 0.7}
    found = watched(monkeypatch, sections)
    result = gateflow("train", "transcriber", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train transcriber shows {name} and never reads {value}"


# Likewise for a forecaster; never a default.
FORECASTER_TYPED = {
    "held_out": 0.25,
    "series": "name",
    "time": "hour",
    "target": "load",
    "past": "wind",
    "future": "holiday",
    "horizon": 3,
    "season": 4,
    "calendar": False,
    "quantiles": "0.25,0.5",
    "cell": "gru",
    "hidden_size": 5,
    "layers": 2,
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "skip": "residual",
    "init": "orthogonal",
}


def test_what_is_typed_for_a_forecaster_is_what_is_read(gateflow, tmp_path, monkeypatch):
    sections = (SeriesConfig, ForecasterNetworkConfig, ForecasterTraining)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    training = {name: value for name, value in TYPED.items() if name in ForecasterTraining.model_fields} | {"epochs": 2}
    typed = FORECASTER_TYPED | training
    assert typed.keys() | {"train"} == fields.keys()
    assert all(fields[name].default != value for name, value in typed.items())
    file = tmp_path / "table.csv"
    file.write_text("name,hour,load,wind,holiday\n" + "".join(f"a,{t},{t % 5},{t % 3},{t % 2}\n" for t in range(60)))
    typed["train"] = file
    found = watched(monkeypatch, sections)
    result = gateflow("train", "forecaster", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train forecaster shows {name} and never reads {value}"


# Likewise for a translator; never a default. Some exclude each other, so there are two trainings.
TRANSLATOR_TYPED = {
    "source": "2",
    "target": "1",
    "features": "3",
    "tokenizer": "char",
    "target_tokenizer": "word",
    "vocab_size": 20,
    "target_vocab_size": 30,
    "min_count": 2,
    "longest": 50,
    "cell": "gru",
    "decoder_cell": "lstm",
    "embedding_size": 3,
    "hidden_size": 5,
    "layers": 2,
    "bidirectional": False,
    "attention": "additive",
    "input_feeding": True,
    "pointer": True,
    "tied": False,
    "dropout": 0.25,
    "weight_dropout": 0.125,
    "word_dropout": 0.3,
    "skip": "residual",
    "init": "orthogonal",
    "label_smoothing": 0.125,
    "metric": "loss",
}


@pytest.mark.parametrize("validation", ["held_out", "valid"])
def test_what_is_typed_for_a_translator_is_what_is_read(validation, gateflow, tmp_path, monkeypatch):
    sections = (PairsConfig, TokensConfig, TranslatorNetworkConfig, TranslatorTraining)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    training = {name: value for name, value in TYPED.items() if name in TranslatorTraining.model_fields} | {"epochs": 2}
    training.pop("window")
    typed = TRANSLATOR_TYPED | training
    files = {"train", "target_data", "valid", "target_valid", "held_out"}
    assert typed.keys() | files | {"joint", "window"} | OF_TRANSFORMER == fields.keys()
    assert all(fields[name].default != value for name, value in typed.items())
    words = [f"{a}{b}{c}" for a in "abc" for b in "abc" for c in "abc"]
    if validation == "held_out":
        rows = "".join(f"{' '.join(word)}\t{word}\tV;PST\n" for word in words)
        (tmp_path / "train.tsv").write_text(rows)
        typed |= {"train": tmp_path / "train.tsv", "held_out": 0.25}
    else:
        for part, of_part in (("train", words[:20]), ("valid", words[20:])):
            (tmp_path / f"{part}.src").write_text("".join(f"{' '.join(word)}\n" for word in of_part))
            (tmp_path / f"{part}.tgt").write_text("".join(f"{' '.join(reversed(word))}\n" for word in of_part))
        for name in ("source", "target", "features", "target_tokenizer", "target_vocab_size"):
            del typed[name]
        typed |= {"train": tmp_path / "train.src", "target_data": tmp_path / "train.tgt", "joint": True}
        typed |= {"valid": tmp_path / "valid.src", "target_valid": tmp_path / "valid.tgt"}
    found = watched(monkeypatch, sections)
    result = gateflow("train", "translator", "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name, value in typed.items():
        assert (name, value) in found, f"train translator shows {name} and never reads {value}"


TRANSFORMER_TYPED = {"model": "transformer", "heads": 2, "hidden_size": 12, "layers": 2, "dropout": 0.25, "epochs": 1}


@pytest.mark.parametrize("task", ["lm", "classifier", "translator"])
def test_what_is_typed_for_a_transformer_is_what_is_read(task, gateflow, tmp_path, monkeypatch):
    sections = (ModelConfig, ClassifierNetworkConfig, TranslatorNetworkConfig)
    typed = TRANSFORMER_TYPED | ({"context": 5, "batch_size": 2} if task == "lm" else {})
    typed["train"] = tmp_path / "train.tsv"
    columns = [(f"{k} {'xy'[k % 2]}", "ab"[k % 2]) for k in range(30)]
    typed["train"].write_text("".join("\t".join(row) + "\n" for row in columns))
    found = watched(monkeypatch, sections)
    result = gateflow("train", task, "--out", tmp_path / "run", *flags(typed))
    assert result.code == 0, result.err
    for name in typed.keys() - {"epochs", "train", "batch_size"}:
        assert (name, typed[name]) in found, f"train {task} shows {name} and never reads {typed[name]}"
    result = gateflow("train", task, "--out", tmp_path / "other", *flags(typed), "--cell", "gru")
    assert result.code == 2
    assert "--cell gru would do nothing: it belongs to --model recurrent" in result.err


def test_what_a_comparison_does_not_use_is_not_offered(gateflow, monkeypatch, corpus):
    offered = shown(["compare"], gateflow, monkeypatch)
    assert offered == FIELDS.keys() - compared.NOT_HERE
    assert shown(["train", "lm"], gateflow, monkeypatch) == FIELDS.keys()
    for option in ("--cell=gru", "--max-updates=3", "--tracker=wandb", "--no-monitor", "--checkpoint-every=2"):
        result = gateflow("compare", "--data", corpus, "--updates", 1, option)
        assert (result.code, result.out) == (2, "")
        assert "No such option" in result.err


@pytest.mark.parametrize("verb", [["train", "lm", "--out", "run"], ["compare", "--updates", "1"]], ids=" ".join)
def test_what_another_option_makes_idle_is_refused(verb, gateflow, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, part in (
        (("--momentum", 0.5), "--momentum 0.5 would do nothing: it belongs to --optimizer sgd"),
        (("--valid", corpus, "--held-out", 0.5), "--held-out 0.5 would do nothing: it belongs to a training without"),
    ):
        result = gateflow(*verb, "--data", corpus, *words)
        assert (result.code, result.out) == (2, "")
        assert part in result.err
    result = gateflow("compare", "--data", corpus, "--updates", 1, "--length", 50)
    assert (result.code, result.out) == (2, "")
    assert "--length belongs to --task adding and copy and order" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", [("--data", "corpus"), ("--task", "adding", "--length", "6")], ids=["text", "memory"])
def test_a_comparison_begins_with_the_seed_that_was_typed(task, gateflow, corpus):
    words = [str(corpus) if word == "corpus" else word for word in task]
    words += ["--cells", "gru", "--hidden-size", "4", "--batch-size", "2", "--updates", "3", "--json"]
    (both,) = json.loads(gateflow("compare", *words, "--seed", 4, "--seeds", 2).out)
    (second,) = json.loads(gateflow("compare", *words, "--seed", 5).out)
    assert both["qualities"][1:] == second["qualities"]
    assert both["qualities"][0] != both["qualities"][1]


@pytest.mark.parametrize(
    "words", [("--candidates=5", "--softmax-samples=6"), ("--softmax-samples=6", "--candidates=5")]
)
def test_an_option_typed_under_both_its_names_is_refused(gateflow, corpus, tmp_path, words):
    result = gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", *words)
    assert result.code == 2
    assert "--candidates is the old name of --softmax-samples, and both are typed; leave one out." in result.err


def test_an_option_of_an_older_version_works_and_is_not_shown(gateflow, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "--candidates" not in gateflow("train", "lm", "--help").out
    words = ("--data", corpus, "--out", tmp_path / "run", *SMALL, "--max-updates=1", "--candidates=5")
    assert gateflow("train", "lm", *words).code == 0
    assert LanguageModelRun(tmp_path / "run").config().model.softmax_samples == 5


@pytest.mark.parametrize("task", TASKS)
def test_no_name_of_an_option_is_cut_on_a_narrow_terminal(task, gateflow, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = gateflow("train", task, "--help").out
    assert "…" not in text
    for name in ("non-finite-limit", "checkpoint-every", "schedule", "batch-size"):
        assert f"--{name} " in text, f"--{name} is broken into two lines"

"""One command, several runs: each is tested on what it has not seen, and what was stopped goes on."""

import json
import re

import pytest
from tests.tasks.classifier.texts import opinions, write

from gateflow.cli import main
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.loading import load_targets
from gateflow.tasks.classifier.run import ClassifierRun

SMALL = ["--hidden-size", "4", "--embedding-size", "4", "--epochs", "1", "--batch-size", "8", "--no-monitor"]


def typed(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code


def parts(run):
    labels = load_targets(run)
    return {part: [text.text for text in own_examples(run, labels, part)] for part in ("train", "valid", "test")}


def test_folds_are_runs_that_are_summed_up(tmp_path, capsys):
    rows = list(dict.fromkeys(opinions(50)))[:30]
    command = ["train", "classifier", "--data", write(tmp_path / "a", rows), "--out", tmp_path / "runs", "--folds", "3"]
    assert typed(*command, *SMALL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["fold-1", "fold-2", "fold-3", "mean"]
    assert re.fullmatch(r"mean( +\d+\.\d\d ± \d+\.\d\d){4}", lines[-1].rstrip())

    found = [parts(ClassifierRun.open(tmp_path / "runs" / f"fold-{k}")) for k in (1, 2, 3)]
    assert sorted(text for fold in found for text in fold["test"]) == sorted(text for text, _ in rows)
    for fold in found:
        assert not set(fold["test"]) & {*fold["train"], *fold["valid"]}
        assert len(fold["train"]) + len(fold["valid"]) + len(fold["test"]) == 30

    # What was stopped goes on: a fold that is there is not trained again, one that is missing is.
    before = (tmp_path / "runs/fold-1/metrics.jsonl").read_bytes()
    (tmp_path / "runs/fold-2").rename(tmp_path / "elsewhere")
    assert typed(*command, *SMALL, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["folds"]) == {"fold-1", "fold-2", "fold-3"}
    assert (tmp_path / "runs/fold-1/metrics.jsonl").read_bytes() == before
    assert (tmp_path / "runs/fold-2/model.safetensors").read_bytes() == (
        tmp_path / "elsewhere/model.safetensors"
    ).read_bytes()
    # Other options are another training.
    assert typed(*command, *SMALL, "--lr", "0.5") == 1
    assert "fold-1 exists" in capsys.readouterr().err
    assert typed("resume", tmp_path / "runs") == 1
    assert "is not a run, but holds 3 of them: fold-1, fold-2, fold-3" in capsys.readouterr().err
    # A fold that has gone on is still one of them, and fewer passes than asked for are not enough.
    assert typed("resume", tmp_path / "runs/fold-1", "--epochs", "2") == 0
    _ = capsys.readouterr()
    assert typed(*command, *SMALL, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["folds"]) == {"fold-1", "fold-2", "fold-3"}
    assert typed(*command, *SMALL, "--epochs", "3") == 1


def test_a_run_of_the_command_line_is_evaluated_and_asked(tmp_path, capsys, monkeypatch):
    file, run = write(tmp_path / "a", opinions(40)), tmp_path / "run"
    assert typed("train", "classifier", "--data", file, "--out", run, *SMALL, "--read-out", "attention") == 0
    assert typed("evaluate", run) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert "confusions" in out
    (tmp_path / "lines").write_text("good\nnot good\n")
    assert typed("classify", run, "--data", tmp_path / "lines", "--weights", "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert [word["text"] for word in second["words"]] == ["not", "good"]
    assert first["label"] in ("pos", "neg")
    assert typed("diagnose", run) == 0


def test_bad_input_is_told_in_two_lines(tmp_path, capsys):
    (tmp_path / "a").write_text("pos\ta\npos\tb\npos\tc\n")
    assert typed("train", "classifier", "--data", tmp_path / "a", "--out", tmp_path / "run") == 1
    assert len(capsys.readouterr().err.strip().splitlines()) <= 2
    assert typed("train", "classifier", "--data", tmp_path / "a", "--out", tmp_path / "run", "--read-out", "sum") == 2
    assert not (tmp_path / "run").exists()

"""``gateflow quickstart`` on a tiny budget, and its verdict on figures made up to be one thing or the other."""

import json
import re

import pytest
import typer
from typer.testing import CliRunner

from gateflow.cli.quickstart import quickstart
from gateflow.cli.verdict import Summary, separation, verdict, who_learned
from gateflow.errors import ConfigError
from gateflow.tasks.contest import Result

app = typer.Typer()
app.command()(quickstart)
TINY = ["--updates", "2", "--workers", "1", "--quiet"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*words):
    return CliRunner().invoke(app, [*TINY, *words], env={"COLUMNS": "100"}, catch_exceptions=False)


def test_tables_example_and_verdict():
    found = invoke("--cells", "elman,simplified_gru,lstm:chrono").stdout
    for words in ("tanh RNN", "simple GRU", "LSTM chrono", "1 to 60 words", "21 to 60 words", "41 to 60"):
        assert words in found
    assert len(re.findall(r"\d+ % \d\.?\d*e-\d+|\d+ % 1e\+00", found)) == 2 * 5 * 3
    right, wrong = found.splitlines()[:2]
    assert " . " not in right
    assert right.endswith(".")
    assert wrong.strip().startswith("not: ")


def test_json_has_every_training(tmp_path):
    rows = json.loads(invoke("--cells", "lstm,gru", "--seeds", "2", "--json").stdout)
    assert {(r["contender"], r["diet"], r["seed"]) for r in rows} == {
        (c, d, s) for c in ("lstm", "gru") for d in ("all", "far") for s in (0, 1)
    }
    assert all(0 <= a <= 1 for r in rows for a in r["accuracy"])
    assert all(r["reach_before"][0] > r["reach_before"][-1] > 0 for r in rows)
    assert [file.name for file in tmp_path.iterdir()] == ["quickstart-flow.html"]


def test_the_report_is_of_the_lstm_and_replaces_no_file(tmp_path):
    assert "Why, with plots: quickstart-flow.html" in invoke("--cells", "elman,lstm").stderr
    report = tmp_path / "quickstart-flow.html"
    page = report.read_text(encoding="utf-8")
    assert "Gradient flow of lstm before training" in page
    assert "the task needs 60" in page
    report.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="quickstart-flow.html exists"):
        invoke()
    assert report.read_text(encoding="utf-8") == "mine"


def result(contender, diet, accuracy, reach):
    return Result(contender, diet, 0, 1, 1.0, 1.0, accuracy, [0.9, 0.6], [reach] * 5, [reach] * 5)


def test_the_verdict_follows_the_figures():
    rows = [
        result("elman", "all", [1.0, 0.8, 0.5, 0.5, 0.51], 1e-14),
        result("lstm", "all", [1.0] * 5, 1e-11),
        result("elman", "far", [0.5] * 5, 1e-14),
        result("lstm", "far", [1.0] * 5, 1e-11),
    ]
    found = verdict(["elman", "lstm"], rows)
    assert "LSTM agrees in 90 % or more of the farthest sentences; tanh RNN in 51 % (nearest: 100 %)" in found[0]
    assert "tanh RNN agrees in 90, 60 %" in found[1]
    assert "tells here" in found[4]
    swapped = verdict(
        ["elman", "lstm"], [result(r.contender, r.diet, r.accuracy[::-1], r.reach_before[0]) for r in rows]
    )
    assert "all of them" in swapped[0]


@pytest.mark.parametrize(("reach", "words"), [(0.1, "tells"), (1e-20, "does not tell")])
def test_reach_is_not_said_to_explain_what_it_does_not(reach, words):
    learned = Summary("a", [1.0], [reach], [reach], [1.0])
    assert f"training {words} here" in separation([learned, Summary("b", [0.5], [1e-8], [1e-8], [0.5])])[1]


def test_nobody_learned():
    assert who_learned([Summary("a", [0.6, 0.5], [1.0], [1.0], [0.5])]).startswith("none agrees")

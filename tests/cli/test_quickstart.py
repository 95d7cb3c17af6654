"""``gateflow quickstart`` on a tiny budget: tables, JSON, the report, and the runs that it keeps."""

import json
import re

import pytest
import typer
from typer.testing import CliRunner

from gateflow.cli.quickstart import quickstart
from gateflow.errors import ConfigError, RunError, WriteError

app = typer.Typer()
app.command()(quickstart)
TINY = ["--updates", "2", "--workers", "1", "--quiet"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*words):
    return CliRunner().invoke(app, [*TINY, *words], env={"COLUMNS": "100"}, catch_exceptions=False)


def test_tables_example_and_summary():
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
    assert {(r["config"], r["distances"], r["seed"]) for r in rows} == {
        (c, d, s) for c in ("lstm", "gru") for d in ("all", "far") for s in (0, 1)
    }
    assert all(0 <= a <= 1 for r in rows for a in r["accuracy"])
    assert all(r["reach_before"][0] > r["reach_before"][-1] > 0 for r in rows)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["quickstart-flow.html", "quickstart-runs"]


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


def test_two_runs_are_kept_that_other_verbs_open(gateflow, tmp_path):
    said = invoke("--cells", "lstm,lstm:chrono,gru", "--seed", "3").stderr
    assert "gateflow evaluate quickstart-runs/lstm-chrono" in said
    assert {entry.name for entry in (tmp_path / "quickstart-runs").iterdir()} == {"lstm", "lstm-chrono"}
    for verb in ("evaluate", "diagnose", "resume"):
        assert gateflow(verb, "quickstart-runs/lstm-chrono").code == 0
    with pytest.raises(ConfigError, match=r"quickstart-runs/lstm exists; .* --runs, or replace it with --force"):
        invoke("--out", "other.html")
    assert invoke("--force", "--cells", "lstm").exit_code == 0


def test_force_replaces_no_folder_that_is_no_run(tmp_path):
    (tmp_path / "quickstart-runs" / "lstm").mkdir(parents=True)
    (tmp_path / "quickstart-runs" / "lstm" / "mine").touch()
    with pytest.raises(RunError, match="--force replaces runs only"):
        invoke("--force", "--cells", "lstm")


@pytest.mark.parametrize("place", ["below a file", "not writable"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_training(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setattr("gateflow.studies.agreement.train_all", None)
    if place == "not writable":
        # Root may write everywhere.
        monkeypatch.setattr("os.access", lambda folder, mode: False)
        with pytest.raises(WriteError, match=rf"could not write new/lstm: nothing may be written into {tmp_path}"):
            invoke("--runs", "new", "--cells", "lstm")
    else:
        with pytest.raises(WriteError, match=r"could not write file/new/lstm: .*file is no folder"):
            invoke("--runs", "file/new", "--cells", "lstm")

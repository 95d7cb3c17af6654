"""A run that was sent executes nothing of its sender's, whatever verb opens it and wherever."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import SMALL
from tests.cli.test_bad_input import assert_refused

from gateflow.runs.lasting import OPTIONS
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks.language_model.run import LanguageModelRun

EVIL = "from pathlib import Path\nPath(__file__).with_name('PWNED').touch()\nfrom gateflow.cells import LSTM as X\n"


@pytest.fixture
def sent(trained, monkeypatch):
    """A run whose cell is a module inside it, opened from the folder above."""
    (trained / "evil.py").write_text(EVIL)
    file = LanguageModelRun(trained).config_file
    file.write_text(file.read_text().replace('cell = "lstm"', 'cell = "trained.evil:X"'))
    for weights in (LanguageModelRun(trained).model_file, LanguageModelRun(trained).checkpoint_file):
        tensors, about = read_tensors(weights)
        write_tensors(weights, tensors, about | {OPTIONS: about[OPTIONS].replace('"lstm"', '":X"')})
    monkeypatch.chdir(trained.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield trained
    for name in ("trained", "trained.evil", "my_cells"):
        sys.modules.pop(name, None)


def pairs(run):
    file = run.parent / "pairs.tsv"
    file.write_text("grammatical\tungrammatical\nthe cat sat\tthe sat cat\n")
    return file


def words(verb, run, corpus):
    more = {"evaluate": ("--data", corpus), "generate": ("--prompt", "the", "--length=3")}
    more["agreement"] = ("--data", pairs(run))
    return (verb, run, *more.get(verb, ()))


@pytest.mark.parametrize("verb", ["evaluate", "generate", "resume", "diagnose", "agreement"])
def test_no_verb_imports_what_a_run_names(gateflow, sent, corpus, verb):
    call = words(verb, sent, corpus)
    assert_refused(
        gateflow(*call), 1, "config.toml asks for the cell trained.evil:X", "trained/evil.py", "--trust-code"
    )
    assert not (sent / "PWNED").exists()
    assert gateflow(*call, "--trust-code").code == 0
    assert (sent / "PWNED").exists()


def test_a_cell_that_was_typed_is_trained_and_named_again_to_go_on(gateflow, sent, corpus, tmp_path):
    Path("my_cells.py").write_text("from gateflow.cells.gru import FullGRU\nclass Mine(FullGRU): ...\n")
    (tmp_path / "mine.toml").write_text('[model]\ncell = "my_cells:Mine"\n')
    train = ("train", "lm", "--data", corpus, "--out", tmp_path / "run", *SMALL, "--max-updates=2")
    assert_refused(gateflow(*train, "--config", "mine.toml"), 1, "mine.toml asks for the cell my_cells:Mine")
    assert not (tmp_path / "run").exists()
    result = gateflow(*train, "--cell=my_cells:Mine")
    assert result.code == 0, result.err
    assert "gateflow generate" in result.err
    assert result.err.count("--trust-code") == 2
    sys.modules.pop("my_cells")
    assert_refused(gateflow("resume", tmp_path / "run"), 1, "my_cells.py", "GATEFLOW_TRUST=my_cells")


def test_the_environment_may_name_it(gateflow, sent, corpus, monkeypatch):
    Path("my_cells.py").write_text(EVIL)
    file = LanguageModelRun(sent).config_file
    file.write_text(file.read_text().replace("trained.evil:X", "my_cells:X"))
    monkeypatch.setenv("GATEFLOW_TRUST", "my_cells")
    assert gateflow(*words("evaluate", sent, corpus)).code == 0


def test_a_run_with_code_can_be_replaced(gateflow, sent, corpus):
    (sent / "evil.py").unlink()
    assert gateflow("train", "lm", "--data", corpus, "--out", sent, "--force", *SMALL, "--max-updates=1").code == 0


def test_what_lies_in_the_current_folder_stands_in_for_no_module(tmp_path):
    for name in ("typer", "rich", "torch", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateflow", "cells", "gru"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "PWNED").exists()

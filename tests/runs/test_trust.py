"""A run runs no code that nobody has named, and a refusal says which file would have been run."""

import sys

import pytest

from gateflow.errors import TrustError
from gateflow.runs.trust import NOBODY, VARIABLE, Trust


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The configuration of a run that was sent with a module beside it, opened from the folder above."""
    (tmp_path / "sent").mkdir()
    for name in ("sent/evil.py", "mine.py", "sent/mine_too.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')\n")
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "kit" / "cells.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "sent" / "config.toml"


@pytest.mark.parametrize("cell", ["lstm", "no such cell", "gateflow.cells.lstm:LSTM", "gateflow.cells:GRU"])
def test_cells_of_our_own_need_no_trust(file, cell):
    NOBODY.check(cell, file, file.parent)


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("sent.evil:X", "sent/evil.py"),
        ("mine:X", "mine.py"),
        ("kit.cells:X", "kit/__init__.py"),
        ("antigravity:X", "antigravity.py"),
        ("nowhere:X", "the module nowhere"),
        ("gateflowers:X", "the module gateflowers"),
    ],
)
def test_other_code_is_refused_and_named_and_not_imported(file, cell, place):
    with pytest.raises(TrustError, match=rf"config\.toml asks for the cell {cell}, .* run .*{place}\.") as caught:
        NOBODY.check(cell, file, file.parent)
    assert "add --trust-code" in str(caught.value)
    assert cell.partition(":")[0] not in sys.modules
    Trust(everything=True).check(cell, file, file.parent)
    Trust(typed=cell).check(cell, file, file.parent)


@pytest.mark.parametrize("listed", ["mine", "other, mine", "kit,mine", "kit.cells"])
def test_the_environment_names_modules_and_packages(file, monkeypatch, listed):
    monkeypatch.setenv(VARIABLE, listed)
    for cell, trusted in (("mine:X", "mine" in listed), ("kit.cells:X", "kit" in listed), ("minerals:X", False)):
        if trusted:
            NOBODY.check(cell, file, file.parent)
        else:
            with pytest.raises(TrustError):
                NOBODY.check(cell, file, file.parent)


@pytest.mark.parametrize("listed", ["", ",", " , ", ".", "mine.more", "min", "*"])
def test_an_empty_or_other_list_trusts_nothing(file, monkeypatch, listed):
    monkeypatch.setenv(VARIABLE, listed)
    with pytest.raises(TrustError, match=rf"name it in the environment: {VARIABLE}=mine\."):
        NOBODY.check("mine:X", file, file.parent)


@pytest.mark.parametrize("cell", ["sent.evil:X", "evil:X"])
def test_a_module_that_the_run_brings_is_not_the_one_that_was_listed(file, monkeypatch, cell):
    monkeypatch.setenv(VARIABLE, "sent,evil")
    if cell == "evil:X":
        monkeypatch.chdir(file.parent)
    with pytest.raises(TrustError, match=r"evil\.py\. If you trust that code, add --trust-code\.$"):
        NOBODY.check(cell, file, file.parent)


def test_what_is_in_use_already_runs_nothing_new(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "mine", sys)
    NOBODY.check("mine:X", file, file.parent)


@pytest.mark.parametrize(
    "cell", [":", "a:", ":b", "a b:c", "a/b:c", "../evil:X", "a:b:c", "a:\x1b[2J", "a..b:c", "1:2"]
)
def test_what_is_no_name_is_not_looked_for(file, monkeypatch, cell):
    monkeypatch.setenv(VARIABLE, cell.partition(":")[0] or "x")
    with pytest.raises(TrustError, match=r"write it as a name, or as package\.module:Class") as caught:
        NOBODY.check(cell, file, file.parent)
    assert str(caught.value).isprintable()

"""Every example runs and does what it says."""

import runpy
import sys
from pathlib import Path

import pytest

from gateflow.cli import main
from gateflow.data.strokes.reading import read_strokes

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_custom_cell_learns(capsys):
    runpy.run_path(str(EXAMPLES / "custom_cell.py"), run_name="__main__")
    path, *updates = capsys.readouterr().out.splitlines()
    assert path.startswith("layer 0  PacedGRU: ")
    losses = [float(line.split()[-1]) for line in updates]
    assert losses[0] > 0.6
    assert losses[-1] < 0.2, "it starts at chance, 0.69, and learns to recall the first input"


def test_the_custom_cell_is_explained_as_its_docstring_says(monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit, match="0"):
        main(["explain", "custom_cell:PacedGRU"])
    assert "u = torch.sigmoid(self.update(c, x)) * torch.sigmoid(self.pace - 2)" in capsys.readouterr().out


def test_cursive_is_written_and_read(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["cursive.py", str(tmp_path), "20"])
    runpy.run_path(str(EXAMPLES / "cursive.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[0] == f"{tmp_path}/train.jsonl: 20 lines"
    lines = {name: [line.label for line in read_strokes(tmp_path / f"{name}.jsonl")] for name in ("train", "valid")}
    assert list(map(len, lines.values())) == [20, 2]
    assert not set(lines["train"]) & set(lines["valid"])


def test_no_example_is_left_out():
    assert {p.name for p in EXAMPLES.glob("*.py")} == {"cursive.py", "custom_cell.py"}

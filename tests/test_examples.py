"""Every example runs and does what it says."""

import json
import linecache
import runpy
import sys
import types
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


def run_notebook(name):
    """The code of a notebook, cell by cell in one namespace, as Jupyter runs it; what its names are afterwards."""
    notebook = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    # A module of its own name, for a cell's class is asked where it comes from.
    module = types.ModuleType(name.removesuffix(".ipynb"))
    sys.modules[module.__name__] = module
    for k, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "what it prints depends on the machine"
            text, file = "".join(cell["source"]), f"<{name}, cell {k}>"
            # Where somebody's class asks for its source, as messages of the compiler do.
            linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
            exec(compile(text, file, "exec"), vars(module))
    return module


def test_a_cell_of_your_own_learns_in_its_notebook(capsys):
    losses = run_notebook("a_cell_of_your_own.ipynb").losses
    assert losses[0] > 0.6
    assert losses[-1] < 0.5


def test_the_notebook_about_forgetting_tells_its_story(capsys):
    found = run_notebook("why_does_it_forget.ipynb")
    assert found.report.findings[0].name == "vanishing"
    assert found.report.reach.horizon < 15 < 30 < found.better.reach.horizon
    assert found.page.stat().st_size > 1e6


def test_the_classifier_of_the_notebook_reads_the_order_of_words(capsys):
    found = run_notebook("a_classifier.ipynb")
    assert found.classifier.score(found.texts[300:], found.labels[300:]) > 0.9
    assert found.trained.task == "classifier"


def test_no_example_is_left_out():
    assert {p.name for p in EXAMPLES.glob("*.py")} == {"cursive.py", "custom_cell.py"}
    notebooks = {"a_cell_of_your_own.ipynb", "a_classifier.ipynb", "why_does_it_forget.ipynb"}
    assert {p.name for p in EXAMPLES.glob("*.ipynb")} == notebooks

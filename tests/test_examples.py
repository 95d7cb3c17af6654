"""Every example runs and does what it says."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_custom_cell_learns(capsys):
    runpy.run_path(str(EXAMPLES / "custom_cell.py"), run_name="__main__")
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[0] > 0.6
    assert losses[-1] < 0.2, "it starts at chance, 0.69, and learns to recall the first input"


def test_no_example_is_left_out():
    assert {p.name for p in EXAMPLES.glob("*.py")} == {"custom_cell.py"}

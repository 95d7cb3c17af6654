"""The tables by which a GPU's kernels are chosen, from what was measured on cards.

    python -m benchmarks.tables

Of each file in benchmarks/results the last run in which all cells were judged and ours and torch's layers were timed:
its training times become src/gateflow/backends/cuda/tables/NAME.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateflow import cells
from gateflow.backends.cuda import measured
from gateflow.backends.cuda.measured import PRECISIONS, Figure, Measured

RESULTS = Path(__file__).parent / "results"


def table(found: dict[str, Any]) -> Measured | None:
    """The table of a card's results; none if gateflow's own kernels were not measured there."""
    runs = [run.get("figures", []) for run in found.get("runs", [])]
    for figures in reversed(runs):
        if any(figure["kind"] == "case" for figure in figures):
            return Measured(found["card"], found["torch"], tuple(sorted(_pairs(figures))))
    return None


def _pairs(figures: list[dict[str, Any]]) -> Iterator[Figure]:
    times = {
        (f["peer"], f["cell"], f["precision"], f["H"], f["B"]): f["training_us"]
        for f in figures
        if f["kind"] == "time" and "error" not in f
    }
    for (peer, cell, precision, H, B), torchs in times.items():
        # Ours multiplies float32 by IEEE, whatever torch may do.
        ours = times.get(("gateflow", cell, "float32" if precision == "tf32" else precision, H, B))
        if peer == "torch.nn" and precision in PRECISIONS and ours is not None:
            yield Figure(cells.get(cell).__name__, precision, H, B, ours, torchs)


def main() -> None:
    """Write each."""
    for file in sorted(RESULTS.glob("*.json")):
        if made := table(json.loads(file.read_text(encoding="utf-8"))):
            path = measured.SHIPPED / file.name
            path.write_text(measured.text_of(made), encoding="utf-8")
            print(path, len(made.figures), "figures")


if __name__ == "__main__":
    main()

"""Each cell's layer beside `torch.nn`'s on the same input: ratios of medians, as a table and as JSON.

    python -m benchmarks [--json FILE] [--rounds N]

A ratio above 1 is the factor by which ours takes longer. Cells that torch lacks stand beside `torch.nn.LSTM`; they run
on the reference loop until there is a compiler, and this is its cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

import gateflow
from benchmarks.timing import interleaved
from gateflow.errors import ReferencePathWarning
from gateflow.recurrence import explain

SHAPES = [(100, 1, 128, 128), (100, 32, 128, 128), (35, 20, 200, 200), (50, 16, 256, 256)]  # T, B, I, H
PEERS: dict[str, type[nn.RNNBase]] = {"elman": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CELLS = [*PEERS, "full_gru", "peephole_lstm", "layernorm_lstm"]


def training(layer: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Forward and backward, as one step of training runs them."""

    def call() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x)[0].sum().backward()

    return call


def inference(layer: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Forward without a graph."""

    def call() -> None:
        with torch.no_grad():
            layer(x)

    return call


def measure(cell: str, shape: tuple[int, int, int, int], rounds: int) -> dict[str, object]:
    """One row: the ratio to the peer, while training and at inference."""
    steps, batch, inputs, hidden = shape
    x = torch.randn(steps, batch, inputs)
    peer = PEERS.get(cell, nn.LSTM)(inputs, hidden)
    layer = gateflow.Recurrent(cell, inputs, hidden)
    row: dict[str, object] = {
        "cell": cell,
        "path": explain(layer, x).paths[0],
        "peer": f"nn.{type(peer).__name__}",
        "shape": dict(zip("TBIH", shape, strict=True)),
    }
    for name, mode in {"training": training, "inference": inference}.items():
        seconds = interleaved({"ours": mode(layer, x), "peer": mode(peer, x)}, rounds)
        row[name] = {**seconds, "ratio": seconds["ours"] / seconds["peer"]}
    return row


def table(rows: list[dict]) -> Table:
    """The rows for people."""
    out = Table(
        "cell", "path", "T/B/I/H", "peer", "training", "inference", title="time of ours / time of the peer", box=None
    )
    for row in rows:
        shape = "/".join(map(str, row["shape"].values()))
        ratios = [f"{row[mode]['ratio']:.2f} ×" for mode in ("training", "inference")]
        out.add_row(row["cell"], row["path"], shape, row["peer"], *ratios)
    return out


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each rival per figure (default 7)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ReferencePathWarning)
    jobs = [(cell, shape) for cell in CELLS for shape in SHAPES]
    rows = [measure(*job, arguments.rounds) for job in track(jobs, "measuring")]
    console = Console()
    console.print(table(rows))
    load = os.getloadavg()[0]
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {load:.1f}; medians, interleaved"
    )
    if arguments.json:
        machine = {"python": platform.python_version(), "torch": torch.__version__, "load": load}
        arguments.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

"""How a training step scales over threads, ours and `torch.nn`'s, taking turns.

    python -m benchmarks.threads [--threads 1,2,4,8,16] [--json FILE]

For each shape and number of threads: milliseconds of a training step of `torch.nn.LSTM` and ours, and how many times
faster each is than on one thread. Medians; kernels are built before any clock starts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import gateflow
from benchmarks.shapes import Shape
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import interleaved

SHAPES = [Shape(B, 35 if H > 512 else 50, H, H) for H in (128, 256, 512, 1024) for B in (1, 8, 32, 128)]
"""Fewer steps where each takes long: what scales is a step."""


def training_step(layer: torch.nn.Module, shape: Shape) -> Callable[[], None]:
    """A forward and a backward pass, of the weights and of the input."""
    x = torch.randn(shape.T, shape.B, shape.I, requires_grad=True)

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        y = layer(x)[0]
        y.backward(torch.ones_like(y))

    return step


def measured(shape: Shape, threads: int, seconds: float) -> dict[str, float]:
    """Median seconds of a training step of each."""
    torch.set_num_threads(threads)
    layers = {"torch.nn": torch.nn.LSTM(shape.I, shape.H), "gateflow": gateflow.LSTM(shape.I, shape.H)}
    times = interleaved({n: training_step(layer, shape) for n, layer in layers.items()}, rounds=9, seconds=seconds)
    return {name: each.median for name, each in times.items()}


def main() -> None:
    """Print a line per shape and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2,4,8,16")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each line")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    table = Table("B/T/I/H", title=f"LSTM, training, {machine()['cpu']}, torch {torch.__version__}")
    for column in (
        "threads",
        "torch.nn ms",
        "gateflow ms",
        "torch.nn scales",
        "gateflow scales",
        "gateflow / torch.nn",
    ):
        table.add_column(column, justify="right")
    rows, console = [], Console(width=120)
    for shape in SHAPES:
        alone: dict[str, float] = {}
        for threads in map(int, chosen.threads.split(",")):
            times = measured(shape, threads, chosen.seconds)
            alone = alone or times
            rows.append(
                {"shape": shape.name, "threads": threads, "milliseconds": {n: 1e3 * t for n, t in times.items()}}
            )
            scales = [f"{alone[n] / t:.2f}" for n, t in times.items()]
            ratio = times["torch.nn"] / times["gateflow"]
            milliseconds = [f"{1e3 * t:.2f}" for t in times.values()]
            table.add_row(shape.name, str(threads), *milliseconds, *scales, f"{ratio:.2f}")
            # A line at a time: all of them take some minutes.
            console.print(f"{shape.name:18} {threads:3} threads  {' and '.join(milliseconds)} ms, {ratio:.2f}")
    console.print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What bounds a layer: its products at the matrix peak, what else its kernels do, and Python around them.

    python -m benchmarks.bounds [--cell lstm|gru|rnn] [--mode training|inference] [--threads N]

For each shape in milliseconds: the multiplications at the peak that a matrix product of torch reaches in between, the
time inside the kernels, a whole pass, and one of `torch.nn`; medians, taking turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

import gateflow
from benchmarks.measure import WIDTH, matrix_product
from benchmarks.shapes import RAGGED, SHAPES, Shape
from gateflow.backends.cpu.arguments import Prepared

LAYERS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
COLUMNS = ("products at the peak", "in the kernels", "all", "torch.nn")
# Odd, so that the median is a measurement.
ROUNDS = 9


class Clock:
    """Sums the seconds that pass inside the kernels."""

    def __init__(self) -> None:
        self.seconds, run, clock = 0.0, Prepared.__call__, self

        def timed(self: Prepared) -> None:
            clock.seconds += seconds(lambda: run(self))

        # Around every kernel, whoever calls it; a clock inside would be a part of what is timed.
        Prepared.__call__ = timed


def main() -> None:
    """Print a line per shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=LAYERS, default="lstm")
    parser.add_argument("--mode", choices=["training", "inference"], default="training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    table = Table("B/T/I/H", title=f"{LAYERS[chosen.cell]}, {chosen.mode}, {chosen.threads} threads, milliseconds")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    clock = Clock()
    for shape in SHAPES:
        if shape is not RAGGED:
            found = measured(LAYERS[chosen.cell], shape, chosen.mode == "training", clock)
            table.add_row(shape.name, *(f"{1e3 * each:.2f}" for each in found))
    Console().print(table)


def measured(name: str, shape: Shape, training: bool, clock: Clock) -> list[float]:
    """The columns of a shape, in seconds."""
    ours, theirs = (getattr(library, name)(shape.I, shape.H) for library in (gateflow, torch.nn))
    # The gradient of the input too, as every layer but the first needs it.
    x, product = torch.randn(shape.T, shape.B, shape.I, requires_grad=training), matrix_product(WIDTH, "fp32")
    weights = sum(w.numel() for w in theirs.parameters() if w.dim() == 2)
    products = (3 if training else 1) * shape.tokens * weights / WIDTH**3
    rows = []
    for _ in range(ROUNDS):
        # The second of two in a row: the first finds another's data in the cache.
        in_torch = twice(lambda: run(theirs, x, training))
        # Once before: the caches hold its weights then, as they do in a training.
        run(ours, x, training)
        clock.seconds = 0.0
        whole = seconds(lambda: run(ours, x, training))
        rows.append((products * twice(product), clock.seconds, whole, in_torch))
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def run(layer: torch.nn.Module, x: torch.Tensor, training: bool) -> None:
    """One forward pass, and in training the backward pass."""
    layer.zero_grad()
    x.grad = None
    with torch.set_grad_enabled(training):
        y = layer(x)[0]
    if training:
        y.backward(torch.ones_like(y))


def twice(call: Callable[[], object]) -> float:
    """The seconds of a second call in a row."""
    call()
    return seconds(call)


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

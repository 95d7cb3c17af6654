"""What a card takes for torch's kernels and for ours: the figures by which layers are run there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, product
from statistics import median
from typing import Any, NamedTuple

import torch

from gateflow.backends.cuda.measured import PRECISIONS, Figure
from gateflow.benchmarking.peers import training
from gateflow.benchmarking.timing import Call
from gateflow.layers import Recurrent
from gateflow.recurrence import force_path

__all__ = ["POINTS", "Point", "build", "figures"]

STEPS, ROUNDS = 256, 7
"""Of a sequence, so that what begins and ends a run is a small part of it; and calls whose median counts."""


class Point(NamedTuple):
    """A layer that is timed."""

    cell: str
    hidden_size: int
    samples: int


POINTS = tuple(Point(*each) for each in product(("Elman", "GRU", "LSTM"), (128, 256, 512, 1024), (16, 64, 256)))
"""Torch's kernels change their ways where weights fit on the chip no more, and where a step is one large product."""


def build(points: Sequence[Point], device: torch.device, processes: int) -> Iterator[Point]:
    """Builds the kernels of each, several at once; gives each point whose kernels are there.

    Args:
        points: what will be timed.
        device: a GPU.
        processes: compilers at once; each keeps a core busy for some seconds.
    """

    def built(point: Point) -> Point:
        for precision in ("float32", "bfloat16"):
            with _on("native", precision, device):
                _step(point, 2, device)()
        return point

    # Threads do: the compiler runs without Python's lock.
    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(built, points)


def figures(
    point: Point, device: torch.device, steps: int = STEPS, clock: Callable[[Call], float] | None = None
) -> list[Figure]:
    """A training step of a layer on torch's kernel and on ours, in every precision.

    Args:
        point: the layer.
        device: a GPU.
        steps: of a sequence.
        clock: what a call takes, in microseconds; by the card's own clock if left out.
    """
    step, timed = _step(point, steps, device), clock or _microseconds

    def taken(path: str, precision: str) -> float:
        with _on(path, precision, device):
            return round(timed(step) / steps, 2)

    ours = {precision: taken("native", precision) for precision in ("float32", "bfloat16")}
    # Ours multiplies float32 by IEEE, whatever torch may do.
    ours["tf32"] = ours["float32"]
    return [
        Figure(point.cell, precision, point.hidden_size, point.samples, ours[precision], taken("vendor", precision))
        for precision in PRECISIONS
    ]


def _step(point: Point, steps: int, device: torch.device) -> Call:
    layer = Recurrent(point.cell.lower(), point.hidden_size, point.hidden_size).to(device)
    x = torch.randn(steps, point.samples, point.hidden_size, device=device)
    return training(layer, x, torch.randn_like(x))


@contextlib.contextmanager
def _on(path: str, precision: str, device: torch.device) -> Iterator[None]:
    """This path, and products in this precision."""
    switch: Any = torch.backends.cudnn.rnn
    before, switch.fp32_precision = switch.fp32_precision, "tf32" if precision == "tf32" else "ieee"
    try:
        with force_path(path), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        switch.fp32_precision = before


def _microseconds(call: Call) -> float:
    """The median of some calls, asked for one after the other, as in a training: the host prepares one meanwhile."""
    for _ in range(2):
        call()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(ROUNDS + 2)]
    for event in events[1:]:
        event.record()
        call()
    torch.cuda.synchronize()
    # The first has waited for the host.
    return 1000 * median(first.elapsed_time(last) for first, last in pairwise(events[2:]))

"""`torch.compile` of the eager loop. It unrolls time, and compiling takes long: only short sequences are tried."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmarks.cases import Absent, Problem
from benchmarks.peers import ours
from gateflow.benchmarking.timing import Call
from gateflow.recurrence import unroll

# Compiling takes time by the number of unrolled steps: 35 took a minute.
LONGEST = 10
SECONDS = 60


def build(problem: Problem) -> Call:
    """Compiled within the time limit, or absent."""
    case = problem.case
    if case.shape.T > LONGEST:
        raise Absent(f"torch.compile unrolls time, so compiling takes long; tried for T ≤ {LONGEST} only")
    if case.mode == "step" or case.shape.lengths:
        raise Absent("torch.compile is tried on whole sequences of one length only")
    if not hasattr(signal, "SIGALRM"):
        raise Absent("torch.compile needs a time limit, and this system has no SIGALRM to set one")
    call = ours.over_sequences(Unrolled(problem), problem)
    try:
        with _time_limit(f"torch.compile took more than {SECONDS} s for {case.shape.T} steps"):
            call()
    except RuntimeError as error:  # no compiler, or the time limit met inside of one
        raise Absent(f"torch.compile failed: {' '.join(str(error).split()[:20])}") from None
    return call


class Unrolled(nn.Module):
    """The loop over `step` as one compiled function."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.layer = problem.layer
        self._loop = torch.compile(self._eager, dynamic=False)

    def forward(self, x: Tensor):
        return self._loop(x)

    def _eager(self, x: Tensor):
        (cell,) = self.layer.layer_cells(0)
        return unroll(cell, x, cell.initial_state(x))


@contextmanager
def _time_limit(reason: str) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise Absent(reason)

    # Put back afterwards, for it may be somebody's.
    before = signal.signal(signal.SIGALRM, give_up)
    # In the same process, since what is compiled cannot be handed over.
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

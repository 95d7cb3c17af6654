"""One figure: gateflow, the peers and the machine's matrix peak, taking turns on one case."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from benchmarks.cases import Absent, Case, Problem
from benchmarks.peers import OURS, PEERS
from gateflow.benchmarking.timing import Call, Timing, interleaved
from gateflow.recurrence import explain

# Of the square product that measures the matrix peak; wider ones come no nearer to it.
WIDTH = 1024
# Operations of a forward pass from which slow peers are spared.
HEAVY = 5e10


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds of each figure, seconds after which no further round begins."""

    rounds: int = 7
    seconds: float = 1.5
    width: int = WIDTH


@dataclass(frozen=True)
class Figure:
    """What was measured of one case; `absent` says why a peer is not in `times`."""

    case: Case
    path: str
    reason: str
    times: dict[str, Timing]
    absent: dict[str, str]
    peak_share: float | None
    foreign_cores: float

    def speedup(self, peer: str) -> float | None:
        """How many times as fast as the peer gateflow is."""
        return self.times[peer].median / self.times["ours"].median if peer in self.times else None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        case = {**asdict(self.case), "shape": self.case.shape.name}
        times = {name: timing._asdict() for name, timing in self.times.items()}
        speedups = {name: self.speedup(name) for name in self.times if name not in ("ours", "peak")}
        return {**asdict(self), "case": case, "times": times, "speedups": speedups}


def measure(case: Case, peers: Sequence[str] | None, effort: Effort) -> Figure:
    """Builds the peers, lets them take turns, and says who was not there; without `peers` the usual ones."""
    problem = Problem(case)
    calls, absent = _calls(problem, peers, effort.width)
    others = OtherProcesses()
    times = interleaved(calls, rounds=effort.rounds, seconds=effort.seconds)
    # After the timing, when the path has been taken.
    choice = explain(problem.layer, problem.padded).rows[0][1]
    if case.mode == "step":
        times = {name: _per_step(timing, case.shape.T) for name, timing in times.items() if name != "peak"}
        share = None
    else:
        # Both in operations per second; the product took its turns among the others.
        share = problem.flops / times["ours"].median / (2 * effort.width**3 / times["peak"].median)
    return Figure(case, choice.path, choice.reason, times, absent, share, others.cores())


def _calls(problem: Problem, peers: Sequence[str] | None, width: int) -> tuple[dict[str, Call], dict[str, str]]:
    # First, so that it is built before any peer that unrolls takes its time.
    calls, absent = {"ours": OURS(problem)}, {}
    # What bf16 is compared with: the same layer without it.
    if problem.case.precision == "bf16":
        calls["ours_fp32"] = OURS(Problem(Case(problem.case.cell, problem.case.shape, problem.case.mode)))
    for name in PEERS if peers is None else peers:
        try:
            # Whoever asks for a peer by name gets it, however long it takes.
            if peers is None:
                _spare_time(name, problem)
            calls[name] = PEERS[name](problem)
        except Absent as reason:
            absent[name] = str(reason)
    return {**calls, "peak": matrix_product(width, problem.case.precision)}, absent


def _spare_time(peer: str, problem: Problem) -> None:
    """The slow peers take minutes on the largest shapes: there they meet only the cells that have no other peer."""
    case, has_other = problem.case, problem.subject.layer is not None and not problem.subject.kin
    if peer not in ("eager", "jax") or problem.forward_flops < HEAVY:
        return
    if has_other or case.mode != "training" or case.precision == "bf16":
        raise Absent("left out on the largest shapes, where it takes minutes; --peers asks for it")


def matrix_product(width: int, precision: str) -> Call:
    """A product large enough to show what this machine can do: `2 · width³` operations."""
    a = torch.randn(width, width, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    product = torch.empty_like(a)  # fresh memory each time would be a part of what is measured
    return lambda: torch.mm(a, a, out=product)


class OtherProcesses:
    """How many cores other processes kept busy since this was made: what makes a figure doubtful."""

    def __init__(self):
        self.start, self.busy, self.own = time.perf_counter(), _busy(), time.process_time()

    def cores(self) -> float:
        """Cores, on average; the clock of the system ticks in hundredths of a second."""
        # A clock that has not moved divides nothing.
        elapsed = max(time.perf_counter() - self.start, 1e-9)
        return max(0.0, (_busy() - self.busy) - (time.process_time() - self.own)) / elapsed


def _busy() -> float:
    times = psutil.cpu_times()
    # Time of guests is in that of users already.
    return sum(times) - times.idle - getattr(times, "iowait", 0) - getattr(times, "guest", 0)


def _per_step(timing: Timing, steps: int) -> Timing:
    return Timing(timing.median / steps, timing.fastest / steps, timing.slowest / steps, timing.rounds)

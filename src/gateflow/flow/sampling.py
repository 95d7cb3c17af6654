"""Which targets are looked at, how many at a time, and what does not fit is said before it is tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gateflow.errors import FlowError
from gateflow.flow.capture import Replay, Trace

__all__ = ["Sampling", "chosen", "listed", "portions"]

# All targets up to here: work and memory grow with targets times steps. A sample
# of 128 leaves an error, which is stated with the decay (`Decay.errors`).
_ALL_UP_TO, _SAMPLED = 512, 128


@dataclass(frozen=True)
class Sampling:
    """How many of the time steps at which some of the loss enters were looked at.

    Attributes:
        targets: those that were.
        among: how many there are.
    """

    targets: tuple[int, ...]
    among: int

    @property
    def exact(self) -> bool:
        """Whether all were looked at."""
        return len(self.targets) == self.among

    def __str__(self) -> str:
        if self.exact:
            return f"exact: all {self.among} steps at which loss enters"
        return f"sampled: {len(self.targets)} of {self.among} steps at which loss enters"


def chosen(trace: Trace, targets: int | Sequence[int] | None, seed: int) -> Sampling:
    """The targets asked for; without a wish all, or beyond 512 a sample of 128, the last among them."""
    among = trace.targets()
    if not among:
        raise FlowError("the loss's gradient is exactly zero at every recurrent layer: saturated, masked, or constant?")
    if targets is None:
        targets = len(among) if len(among) <= _ALL_UP_TO else _SAMPLED
    if not isinstance(targets, int):
        missing = sorted(set(targets) - set(among))
        if missing or not targets:
            raise FlowError(
                f"targets {missing or 'are none'}: no loss enters there; it does at {listed(among, 'step')}"
            )
        return Sampling(tuple(sorted(set(targets))), len(among))
    if targets < 1:
        raise FlowError(f"targets must be at least 1, found {targets}")
    if targets >= len(among):
        return Sampling(tuple(among), len(among))
    # Stratified: one from each of so many equal parts, so that no part of the sequence is left out by chance.
    edges = torch.linspace(0, len(among), targets + 1, dtype=torch.float64)
    where = torch.rand(targets, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    where[-1] = 1 - 1e-9  # the last step of its part, and so of all: it looks back farthest
    picked = (edges[:-1] + where * edges.diff()).long().unique().tolist()
    return Sampling(tuple(among[k] for k in picked), len(among))


def listed(steps: Sequence[int], what: str) -> str:
    """`"step 3"`, or `"steps 3, 5, 8"`, with an ellipsis after the eighth."""
    return f"{what}{'s' * (len(steps) > 1)} {', '.join(map(str, steps[:8]))}{' …' * (len(steps) > 8)}"


def portions(trace: Trace, targets: Sequence[int], limit: int | None) -> Iterator[Sequence[int]]:
    """Cuts the targets into runs that fit into memory.

    Raises:
        FlowError: not even one target fits.
    """
    limit = _half_of_free(trace.replays[0].x.device) if limit is None else limit
    fixed, each = (sum(column) for column in zip(*map(_needs, trace.replays), strict=True))
    # 16 bytes: four numbers of float32, the norms of the full state and of its parts.
    results = len(targets) * sum(16 * p.steps * p.rows for p in trace.replays)
    at_once = (limit - fixed - results) // each
    if at_once < 1:
        raise FlowError(
            f"this needs about {_size(fixed + results + each)} of memory and {_size(limit)} are at hand; take fewer "
            f"rows (the batch has {trace.replays[0].rows}), shorter sequences, or a sample such as targets=32"
        )
    for k in range(0, len(targets), at_once):
        yield targets[k : k + at_once]


def _needs(replay: Replay) -> tuple[int, int]:
    """Bytes for a replay whatever the number of targets, and bytes for each target."""
    item, steps, rows = replay.x.element_size(), replay.steps, replay.rows
    state, inputs = sum(part.shape[-1] for part in replay.states), replay.x.shape[-1]
    gates = sum(len(weight) for name, weight in replay.cell._parameters.items() if weight is not None and "_ih" in name)
    # Where there is a layer below, the cotangents of all inputs are
    # collected, and those of the graph between are made of them.
    handed_down = 2 * steps * inputs if replay.x.requires_grad else 0
    # First the factors and values of each step that a unit-wise
    # adjoint keeps; then the two blocks of δ and the gates' buffers.
    return steps * rows * (2 * gates + 4 * state) * item, rows * (2 * state + gates + handed_down) * item


def _half_of_free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    # What Linux says could be had without swapping; elsewhere 4 GB
    # are assumed. Half of it, for the model's graph needs some too.
    known = Path("/proc/meminfo")
    lines = known.read_text(encoding="ascii").splitlines() if known.exists() else []
    available = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return next(available, 2**32) // 2


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(count, 0) / 2**20:.0f} MiB"

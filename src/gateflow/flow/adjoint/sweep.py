"""Back-propagation through time for many targets at once: `δ_{t,k} = ∂E_t/∂s_k` for all `t` in one sweep over `k`.

`δ_{t,k} = J_{k+1}ᵀ δ_{t,k+1}`, begun at `k = t` with what enters there from the loss (Pascanu et al. 2013, equations 3
to 5). A row of the block that the sweep carries is one target; what recurrent layers above give is added on the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from gateflow.flow.adjoint.between_layers import LeafCotangents
from gateflow.flow.adjoint.step_adjoint import adjoint_of
from gateflow.flow.capture.replay import Replay, State
from gateflow.flow.capture.trace import Trace

__all__ = ["Visit", "backward"]

# Called with the replay, its step, the targets that are alive, and δ `[m, B,
# size]` for each part of the state. It may return the norms `[m, B]` of the
# full state, by which a target is dropped that has fallen below the floor.
Visit = Callable[[Replay, int, slice, list[Tensor]], Tensor | None]


@torch.no_grad()
def backward(trace: Trace, targets: Sequence[int], visit: Visit, floor: float = 0.0, rest: Sequence[int] = ()) -> None:
    """Carries the gradients of the parts of the loss that enter at `targets` through all replays, the last one first.

    Args:
        trace: what a run of the model left behind.
        targets: time steps, ascending.
        visit: sees every `δ_{t,k}` once, with zeros where a row has ended.
        floor: a target is followed until all its rows have fallen below this share of their largest norm.
        rest: further time steps, carried together as one more target.
    """
    below = LeafCotangents(leaf for replay in trace.replays for leaf in (replay.y, *replay.final))
    # Time steps that nobody looks at one by one share a row, since δ is linear in what enters from the loss.
    row_of = {t: i for i, t in enumerate(targets)} | dict.fromkeys(rest, len(targets))
    with _subnormals_as_zero():
        for replay, entry in zip(reversed(trace.replays), reversed(trace.entries), strict=True):
            _Sweep(replay, entry, row_of, len(targets) + bool(rest), below, floor).run(visit)


class _Sweep:
    """One replay, from its last step to its first. `low:high` are the targets that are alive.

    They are a range and not a set, so that what is alive is a slice of the block and nothing is gathered or copied:
    targets ascend in time, so they come to life one next to the other and, where the gradient vanishes, die in the same
    order.
    """

    def __init__(
        self, replay: Replay, entry: State, row_of: Mapping[int, int], n: int, below: LeafCotangents, floor: float
    ):
        self.replay, self.entry, self.row_of, self.n, self.below, self.floor = replay, entry, row_of, n, below, floor
        self.above, ends = below.take(replay.y), [below.take(leaf) for leaf in replay.final]
        # Two blocks that change places at each step: a new one for each would cost page faults.
        self.g, self.spare = ([part.new_zeros(n, replay.rows, part.shape[-1]) for part in entry] for _ in range(2))
        self.peak = entry[0].new_zeros(n, replay.rows)
        # Below another recurrent layer any target may bring something
        # to any step, so that all are alive from the start.
        self.low, self.high = (0, 0) if self.above is None and all(end is None for end in ends) else (0, n)
        for part, end in zip(self.g, ends, strict=True):
            if end is not None:
                part.add_(end)

    def run(self, visit: Visit) -> None:
        """Visits every step and hands down what comes out at the input and the start."""
        replay, adjoint, (T, B, inputs) = self.replay, adjoint_of(self.replay), self.replay.x.shape
        wants_x = bool(self.below.leaves_under([replay.x]))
        to_x = replay.x.new_zeros(self.n, T, B, inputs) if wants_x else None
        for p in reversed(range(T)):
            self._let_in(p)
            if self.low < self.high:
                self._drop(visit(replay, p, slice(self.low, self.high), self._seen(p)))
            alive, rows = slice(self.low, self.high), slice(p * B, (p + 1) * B)
            if self.low == self.high:
                continue
            g, out = [part[alive] for part in self.g], [part[alive] for part in self.spare]
            back = adjoint.back(rows, g, out, wants_x)
            self._stand_still(p, g, out, back)
            if to_x is not None and back is not None:
                to_x[alive, p] = back
            self.g, self.spare = self.spare, self.g
        self._hand_down(to_x)

    def _let_in(self, p: int) -> None:
        """Adds what enters after step `p`: from the loss to the row of this time step, from above to all."""
        row = self.row_of.get(self.replay.time(p))
        if row is not None:
            self._widen(row)
            for part, entry in zip(self.g, self.entry, strict=True):
                part[row] += entry[p]
        if self.above is not None:
            self.g[0] += self.above[:, p]

    def _widen(self, row: int) -> None:
        """Takes a row into the range; those that come in with it start at zero."""
        if self.low == self.high:
            self.low = self.high = row
        low, high = min(row, self.low), max(row + 1, self.high)
        for part in self.g:
            part[low : self.low] = 0
            part[self.high : high] = 0
        self.low, self.high = low, high

    def _seen(self, p: int) -> list[Tensor]:
        alive, valid = [part[self.low : self.high] for part in self.g], self.replay.valid
        return alive if valid is None else [part * valid[p] for part in alive]

    def _drop(self, norm: Tensor | None) -> None:
        """Narrows the range to the targets that are above the floor."""
        # Fed from above, a target that has died down may be
        # given something at an earlier step, and is followed on.
        if norm is None or not self.floor or self.above is not None:
            return
        peak, first = self.peak[self.low : self.high], self.low
        torch.maximum(peak, norm, out=peak)
        # Below its own largest norm, not its first: a gradient
        # that grows before it fades is small only in the end.
        alive = (norm > self.floor * peak).any(1).nonzero()[:, 0].tolist()
        self.low, self.high = (first + alive[0], first + alive[-1] + 1) if alive else (0, 0)

    def _stand_still(self, p: int, g: list[Tensor], out: list[Tensor], back: Tensor | None) -> None:
        """Where a row has nothing, its state stands still and its input is not read."""
        valid = self.replay.valid
        if valid is None:
            return
        for new, old in zip(out, g, strict=True):
            torch.where(valid[p], new, old, out=new)
        if back is not None:
            back.mul_(valid[p])

    def _hand_down(self, to_x: Tensor | None) -> None:
        # Targets that were dropped left numbers behind in both blocks.
        for part in self.g:
            part[: self.low] = 0
            part[self.high :] = 0
        given = [(self.replay.x, to_x)] if to_x is not None else []
        given += list(zip(self.replay.start, self.g, strict=True))
        self.below.pass_down(*(list(column) for column in zip(*given, strict=True)))


@contextlib.contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """A vanishing gradient ends in subnormal numbers, on which a CPU is some ten times slower."""
    # Torch can set this mode and not tell it, so it is asked by
    # arithmetic: 1e-40 is below float32's smallest normal number.
    kept = bool(torch.tensor([1e-40]) * 1.0 > 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not kept)

"""Back-propagation through time for many targets at once: `δ_{t,k} = ∂E_t/∂s_k` for all `t` in one sweep over `k`.

`δ_{t,k} = J_{k+1}ᵀ δ_{t,k+1}`, begun at `k = t` with what enters there from the loss (Pascanu et al. 2013, equations 3
to 5). A row of the block that the sweep carries is one target; what recurrent layers above give is added on the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from gateflow.flow.adjoint.step_adjoint import adjoint_of
from gateflow.flow.capture.graph import Blocks
from gateflow.flow.capture.replay import Pass, State
from gateflow.flow.capture.trace import Trace

__all__ = ["Visit", "backward"]

# Called with the pass, its step, the targets that are alive, and δ `[m, B, size]` for each part of the state. It may
# return the norms `[m, B]` of the full state, by which a target is dropped that has fallen below the floor.
Visit = Callable[[Pass, int, slice, list[Tensor]], Tensor | None]


@torch.no_grad()
def backward(run: Trace, targets: Sequence[int], visit: Visit, floor: float = 0.0, rest: Sequence[int] = ()) -> None:
    """Carries the gradients of the parts of the loss that enter at `targets` through all passes, the last one first.

    Args:
        run: a traced model.
        targets: time steps, ascending.
        visit: sees every `δ_{t,k}` once, with zeros where a row has ended.
        floor: a target is followed until all its rows have fallen below this share of their largest norm.
        rest: further time steps, carried together as one more target.
    """
    blocks = Blocks(leaf for done in run.passes for leaf in (done.y, *done.final))
    row_of = {t: i for i, t in enumerate(targets)} | dict.fromkeys(rest, len(targets))
    with _subnormals_as_zero():
        for done, entry in zip(reversed(run.passes), reversed(run.entries), strict=True):
            _Sweep(done, entry, row_of, len(targets) + bool(rest), blocks, floor).run(visit)


class _Sweep:
    """One pass, from its last step to its first. `low:high` are the targets that are alive."""

    def __init__(self, done: Pass, entry: State, row_of: Mapping[int, int], n: int, blocks: Blocks, floor: float):
        self.done, self.entry, self.row_of, self.n, self.blocks, self.floor = done, entry, row_of, n, blocks, floor
        self.above, ends = blocks.take(done.y), [blocks.take(leaf) for leaf in done.final]
        self.g, self.spare = ([part.new_zeros(n, done.rows, part.shape[-1]) for part in entry] for _ in range(2))
        self.peak = entry[0].new_zeros(n, done.rows)
        self.low, self.high = (0, 0) if self.above is None and all(end is None for end in ends) else (0, n)
        for part, end in zip(self.g, ends, strict=True):
            if end is not None:
                part.add_(end)

    def run(self, visit: Visit) -> None:
        """Visits every step and hands down what comes out at the input and the start."""
        done, adjoint, (T, B, inputs) = self.done, adjoint_of(self.done), self.done.x.shape
        wants_x = bool(self.blocks.below([done.x]))
        to_x = done.x.new_zeros(self.n, T, B, inputs) if wants_x else None
        for p in reversed(range(T)):
            self._let_in(p)
            if self.low < self.high:
                self._drop(visit(done, p, slice(self.low, self.high), self._seen(p)))
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
        row = self.row_of.get(self.done.time(p))
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
        alive, valid = [part[self.low : self.high] for part in self.g], self.done.valid
        return alive if valid is None else [part * valid[p] for part in alive]

    def _drop(self, norm: Tensor | None) -> None:
        """Narrows the range to the targets that are above the floor."""
        if norm is None or not self.floor or self.above is not None:
            return
        peak, first = self.peak[self.low : self.high], self.low
        torch.maximum(peak, norm, out=peak)
        alive = (norm > self.floor * peak).any(1).nonzero()[:, 0].tolist()
        self.low, self.high = (first + alive[0], first + alive[-1] + 1) if alive else (0, 0)

    def _stand_still(self, p: int, g: list[Tensor], out: list[Tensor], back: Tensor | None) -> None:
        """Where a row has nothing, its state stands still and its input is not read."""
        valid = self.done.valid
        if valid is None:
            return
        for new, old in zip(out, g, strict=True):
            torch.where(valid[p], new, old, out=new)
        if back is not None:
            back.mul_(valid[p])

    def _hand_down(self, to_x: Tensor | None) -> None:
        for part in self.g:
            part[: self.low] = 0
            part[self.high :] = 0
        given = [(self.done.x, to_x)] if to_x is not None else []
        given += list(zip(self.done.start, self.g, strict=True))
        self.blocks.pass_down(*(list(column) for column in zip(*given, strict=True)))


@contextlib.contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """A vanishing gradient ends in subnormal numbers, on which a CPU is some ten times slower."""
    kept = bool(torch.tensor([1e-40]) * 1.0 > 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not kept)

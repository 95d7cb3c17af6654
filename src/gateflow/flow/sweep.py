"""Back-propagation through time for many targets at once: `δ_{t,k} = ∂E_t/∂s_k` for all `t` in one sweep over `k`.

`δ_{t,k} = J_{k+1}ᵀ δ_{t,k+1}`, begun at `k = t` with what enters there from the loss (Pascanu et al. 2013, equations 3
to 5). A row of the block that the sweep carries is one target; what recurrent layers above give is added on the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gateflow.flow.graph import Blocks
from gateflow.flow.linear import adjoint_of
from gateflow.flow.replay import Pass, State
from gateflow.flow.trace import Trace

__all__ = ["Visit", "backward", "full_norm"]

# Called with the pass, its step, the targets that are alive, and δ `[m, B, size]` for each part of the state. It may
# return the norms `[m, B]` of the full state, by which a target is dropped that has fallen below the floor.
Visit = Callable[[Pass, int, slice, list[Tensor]], Tensor | None]


@torch.no_grad()
def backward(run: Trace, targets: Sequence[int], visit: Visit, floor: float = 0.0) -> None:
    """Carries the gradients of the parts of the loss that enter at `targets` through all passes, the last one first.

    Args:
        run: a traced model.
        targets: time steps, ascending.
        visit: sees every `δ_{t,k}` once, with zeros where a row has ended.
        floor: a target is followed until all its rows have fallen below this share of their largest norm.
    """
    blocks = Blocks(leaf for done in run.passes for leaf in (done.y, *done.final))
    index = torch.full((run.times + 1,), -1, device=run.passes[0].x.device)  # the last is for steps that are none
    index[list(targets)] = torch.arange(len(targets), device=index.device)
    with _subnormals_as_zero():
        for done, entry in zip(reversed(run.passes), reversed(run.entries), strict=True):
            _Sweep(done, entry, index[done.times()], len(targets), blocks, floor).run(visit)


def full_norm(parts: Sequence[Tensor]) -> Tensor:
    """Norm over all parts of the state, `[…, size]` each."""
    squares = [torch.linalg.vector_norm(part, dim=-1) for part in parts]
    return squares[0] if len(squares) == 1 else torch.stack(squares).norm(dim=0)


class _Sweep:
    """One pass, from its last step to its first. `low:high` are the targets that are alive."""

    def __init__(self, done: Pass, entry: State, at: Tensor, n: int, blocks: Blocks, floor: float):
        self.done, self.entry, self.at, self.n, self.blocks, self.floor = done, entry, at, n, blocks, floor
        self.valid = None if done.lengths is None else done.valid()[..., None]
        self.above, ends = blocks.take(done.y), [blocks.take(leaf) for leaf in done.final]
        self.g, self.spare = ([part.new_zeros(n, done.rows, part.shape[-1]) for part in entry] for _ in range(2))
        self.peak = entry[0].new_zeros(n, done.rows)
        self.low, self.high = (n, 0) if self.above is None and all(end is None for end in ends) else (0, n)
        for part, end in zip(self.g, ends, strict=True):
            if end is not None:
                part.add_(end)
        self.arrivals = _ranges(at)

    def run(self, visit: Visit) -> None:
        done, adjoint, (T, B, inputs) = self.done, adjoint_of(self.done), self.done.x.shape
        wants_x = bool(self.blocks.below([done.x]))
        to_x = done.x.new_zeros(self.n, T, B, inputs) if wants_x else None
        for p in reversed(range(T)):
            self._let_in(p)
            if self.low >= self.high:
                continue
            self._drop(visit(done, p, slice(self.low, self.high), self._seen(p)))
            alive, rows = slice(self.low, self.high), slice(p * B, (p + 1) * B)
            g, out = [part[alive] for part in self.g], [part[alive] for part in self.spare]
            back = adjoint.back(rows, g, out, wants_x)
            self._stand_still(p, g, out, back)
            if to_x is not None and back is not None:
                to_x[alive, p] = back
            self.g, self.spare = self.spare, self.g
        self._hand_down(to_x)

    def _let_in(self, p: int) -> None:
        """Adds what enters after step `p`: from the loss to the rows of its own target, from above to all."""
        low, high = self.arrivals[p]
        if low < high:
            self._widen(low, high)
            for part, entry in zip(self.g, self.entry, strict=True):
                if high - low == 1 and self.valid is None:
                    part[low] += entry[p]
                else:
                    b = (self.at[p] >= 0).nonzero()[:, 0]
                    part.index_put_((self.at[p][b], b), entry[p][b], accumulate=True)
        if self.above is not None:
            self.g[0] += self.above[:, p]

    def _widen(self, low: int, high: int) -> None:
        if self.low >= self.high:
            self.low = self.high = low
        for part in self.g:
            part[low : self.low] = 0
            part[self.high : high] = 0
        self.low, self.high = min(low, self.low), max(high, self.high)

    def _seen(self, p: int) -> list[Tensor]:
        alive = [part[self.low : self.high] for part in self.g]
        return alive if self.valid is None else [part * self.valid[p] for part in alive]

    def _drop(self, norm: Tensor | None) -> None:
        """Narrows the range to the targets that are above the floor."""
        if norm is None or not self.floor or self.above is not None:
            return
        peak = self.peak[self.low : self.high]
        torch.maximum(peak, norm, out=peak)
        alive = (norm > self.floor * peak).any(1).nonzero()[:, 0]
        first = self.low
        self.low, self.high = (first + int(alive[0]), first + int(alive[-1]) + 1) if len(alive) else (self.n, 0)

    def _stand_still(self, p: int, g: list[Tensor], out: list[Tensor], back: Tensor | None) -> None:
        """Where a row has ended, its state stands still and its input is not read."""
        if self.valid is None:
            return
        for new, old in zip(out, g, strict=True):
            torch.where(self.valid[p], new, old, out=new)
        if back is not None:
            back.mul_(self.valid[p])

    def _hand_down(self, to_x: Tensor | None) -> None:
        for part in self.g:
            part[: self.low] = 0
            part[self.high :] = 0
        given = [(self.done.x, to_x)] if to_x is not None else []
        given += list(zip(self.done.start, self.g, strict=True))
        self.blocks.pass_down(*(list(column) for column in zip(*given, strict=True)))


def _ranges(at: Tensor) -> list[tuple[int, int]]:
    """The range of target rows that something enters at each step."""
    n = int(at.max()) + 1 if at.numel() else 0
    low = torch.where(at >= 0, at, n).amin(1).tolist()
    return list(zip(low, (at.amax(1) + 1).tolist(), strict=True))


@contextlib.contextmanager
def _subnormals_as_zero() -> Iterator[None]:
    """A vanishing gradient ends in subnormal numbers, on which a CPU is some ten times slower."""
    kept = bool(torch.tensor([1e-40]) * 1.0 > 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(not kept)

"""Memory for the cotangents inside one step, written in place: new memory for each would cost page faults."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Paths", "Slots"]

# Which inputs a tensor depends on and by which unit-wise factor `[T · B, size]`; none for the input itself.
Paths = list[tuple[int, Tensor | None]]


class Slots:
    """One slot per input of a step: `x`, then the parts of the old state, then the pieces' values, side by side.

    Args:
        widths: sizes of `x`, the state's parts and the pieces.
        parts: number of the state's parts.
    """

    def __init__(self, widths: Sequence[int], parts: int):
        self.widths, self.first = list(widths), 1 + parts
        self.filled: set[int] = set()
        self.views: list[Tensor | None] = []
        self._memory: dict[str, Tensor] = {}

    def open(self, like: Tensor, out: Sequence[Tensor], wants_x: bool) -> None:
        """Empties all slots, for cotangents of the shape of `like [m, R, …]`; those of the old state lie in `out`."""
        self.filled.clear()
        self.together = self._buffer("pieces", like, sum(self.widths[self.first :]))
        pieces = self.together.split(self.widths[self.first :], dim=-1)
        self.views = [self._buffer("x", like, self.widths[0]) if wants_x else None, *out, *pieces]

    def add(self, j: int, g: Tensor, factor: Tensor | None = None) -> None:
        """Adds `g ∘ factor` to slot `j`, if anybody wants it."""
        slot, first = self.views[j], j not in self.filled
        if slot is None:
            return
        self.filled.add(j)
        if factor is None:
            slot.copy_(g) if first else slot.add_(g)
        elif first:
            torch.mul(g, factor, out=slot)
        else:
            slot.addcmul_(g, factor)

    def add_product(self, j: int, members: Sequence[int], weight: Tensor) -> None:
        """Adds `[g_1 g_2 …] W` for the slots `members`, in one product."""
        slot = self.views[j]
        if slot is None:
            return
        a, flat = self._side_by_side(members).flatten(0, 1), slot.view(-1, slot.shape[-1])
        if j in self.filled:
            flat.addmm_(a, weight)
        else:
            torch.mm(a, weight, out=flat)
        self.filled.add(j)

    def take(self, j: int) -> Tensor | None:
        """What has been added to slot `j`: zeros, if nothing has."""
        slot = self.views[j]
        if slot is not None and j not in self.filled:
            slot.zero_()
        return slot

    def _side_by_side(self, members: Sequence[int]) -> Tensor:
        low, high = members[0], members[-1] + 1
        if list(members) == list(range(low, high)):
            start, width = sum(self.widths[self.first : low]), sum(self.widths[low:high])
            return self.together.narrow(-1, start, width)
        return torch.cat([view for k in members if (view := self.views[k]) is not None], dim=-1)

    def _buffer(self, name: str, like: Tensor, width: int) -> Tensor:
        shape = (*like.shape[:2], width)
        if name not in self._memory or self._memory[name].numel() < math.prod(shape):
            self._memory[name] = like.new_empty(math.prod(shape))
        return self._memory[name][: math.prod(shape)].view(shape)

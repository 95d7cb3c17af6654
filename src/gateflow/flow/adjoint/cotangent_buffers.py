"""Memory for the cotangents inside one step, written in place: new memory for each would cost page faults."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["CotangentBuffers", "Paths"]

# Which inputs a tensor depends on and by which unit-wise factor `[T · B, size]`; none for the input itself.
Paths = list[tuple[int, Tensor | None]]


class CotangentBuffers:
    """One buffer per input of a step: `x`, then the parts of the previous state, then the calls' values, side by side.

    Args:
        widths: sizes of `x`, the state's parts and the calls.
        parts: number of the state's parts.
    """

    def __init__(self, widths: Sequence[int], parts: int):
        self.widths, self.first = list(widths), 1 + parts
        self.filled: set[int] = set()
        self.views: list[Tensor | None] = []
        self._memory: dict[str, Tensor] = {}

    def open(self, like: Tensor, out: Sequence[Tensor], wants_x: bool) -> None:
        """Empties all, for cotangents of the shape of `like [m, R, …]`; those of the previous state lie in `out`."""
        # Emptied by name only: what is added first replaces what
        # was there, where zeros would be one more pass over memory.
        self.filled.clear()
        self.together = self._memory_for("calls", like, sum(self.widths[self.first :]))
        calls = self.together.split(self.widths[self.first :], dim=-1)
        self.views = [self._memory_for("x", like, self.widths[0]) if wants_x else None, *out, *calls]

    def add(self, j: int, g: Tensor, factor: Tensor | None = None) -> None:
        """Adds `g ∘ factor` to buffer `j`, if anybody wants it."""
        buffer, first = self.views[j], j not in self.filled
        if buffer is None:
            return
        self.filled.add(j)
        if factor is None:
            buffer.copy_(g) if first else buffer.add_(g)
        elif first:
            torch.mul(g, factor, out=buffer)
        else:
            buffer.addcmul_(g, factor)

    def add_product(self, j: int, members: Sequence[int], weight: Tensor) -> None:
        """Adds `[g_1 g_2 …] W` for the buffers `members`, in one product."""
        buffer = self.views[j]
        if buffer is None:
            return
        a, flat = self._side_by_side(members).flatten(0, 1), buffer.view(-1, buffer.shape[-1])
        if j in self.filled:
            flat.addmm_(a, weight)
        else:
            torch.mm(a, weight, out=flat)
        self.filled.add(j)

    def take(self, j: int) -> Tensor | None:
        """What has been added to buffer `j`: zeros, if nothing has."""
        buffer = self.views[j]
        if buffer is not None and j not in self.filled:
            buffer.zero_()
        return buffer

    def _side_by_side(self, members: Sequence[int]) -> Tensor:
        # Gates that are called one after the other lie side by side
        # already; a copy is needed only where a norm is between.
        low, high = members[0], members[-1] + 1
        if list(members) == list(range(low, high)):
            start, width = sum(self.widths[self.first : low]), sum(self.widths[low:high])
            return self.together.narrow(-1, start, width)
        return torch.cat([view for k in members if (view := self.views[k]) is not None], dim=-1)

    def _memory_for(self, name: str, like: Tensor, width: int) -> Tensor:
        shape = (*like.shape[:2], width)
        # It only ever grows: the number of targets alive goes up and down during a sweep.
        if name not in self._memory or self._memory[name].numel() < math.prod(shape):
            self._memory[name] = like.new_empty(math.prod(shape))
        return self._memory[name][: math.prod(shape)].view(shape)

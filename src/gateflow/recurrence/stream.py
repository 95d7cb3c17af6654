"""One step at a time: what stays the same from step to step is prepared once, so that little but the kernel is left."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.compiler import compile_cell
from gateflow.compiler.kernel import REALS
from gateflow.recurrence import compiled
from gateflow.recurrence.native import Sequences

__all__ = ["streamed"]

_streams: WeakKeyDictionary[Cell, _Stream] = WeakKeyDictionary()


def streamed(cell: Cell, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """The new state after one step, or none where the native path cannot take it.

    Args:
        cell: the equations; what is prepared is kept for as long as they live.
        weights: the cell's weights in the order of its parameters; packed anew when torch's version counter says that
            they have changed.
        x: input `[B, I]`.
        state: the parts of the state, `[B, size]`.

    Example:
        >>> from gateflow.cells import LSTM
        >>> cell = LSTM(3, 4)
        >>> zeros = torch.zeros(1, 4)
        >>> h, c = streamed(cell, list(cell.parameters()), torch.zeros(1, 3), (zeros, zeros))
        >>> h.shape
        torch.Size([1, 4])
    """
    if compiled.transformed() or torch.is_autocast_enabled("cpu") or any(s.dtype != x.dtype for s in state):
        return None
    stream = _streams.get(cell)
    if stream is None or not stream.fits(weights, x):
        one_dtype = x.dtype in REALS and all(w.dtype == x.dtype for w in weights)
        if not one_dtype or compiled.obstacle(cell, zoneout=False, device=x.device, dtype=x.dtype) is not None:
            return None
        stream = _streams[cell] = _Stream(cell, weights, x, state)
    return stream.step(x, state)


class _Stream:
    """A cell's step with packed weights, for one size of batch and one number of threads."""

    def __init__(self, cell: Cell, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]):
        kernel, self.seen = compile_cell(cell), self._versions(weights)
        self.weights, self.x_shape, self.dtype, self.threads = list(weights), x.shape, x.dtype, torch.get_num_threads()
        names = dict(zip(cell.parameter_shapes(), (w.detach().contiguous() for w in weights), strict=True))
        one = Sequences(kernel, x, names, state, histories=list(state))
        loop = one.loop("stream")
        self.held = one.pack(loop), one.known(), one.span(loop, 0, 0)  # what the addresses below point to
        packed, lines, span = self.held
        self.prepared = loop.prepare(span, lines, packed, one.sizes)
        rows = list(enumerate(loop.plan.rows))
        self.places = [[4 * k for k, row in rows if row.tensor == f"state.{name}"] for name in cell.state_sizes]
        self.inputs = [4 * k for k, row in rows if row.tensor == "x"]

    @staticmethod
    def _versions(weights: Sequence[Tensor]) -> list[tuple[int, int]]:
        return [(w.data_ptr(), w._version) for w in weights]

    def fits(self, weights: Sequence[Tensor], x: Tensor) -> bool:
        """Whether nothing has changed that was prepared for."""
        same = x.shape == self.x_shape and x.dtype == self.dtype and torch.get_num_threads() == self.threads
        return same and self._versions(weights) == self.seen

    def step(self, x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One step: the addresses of this step's tensors, and the call."""
        x, old = x.contiguous(), [s.contiguous() for s in state]
        new = tuple(torch.empty_like(s) for s in old)
        places = self.prepared.places
        for k in self.inputs:
            places[k] = x.data_ptr()
        for slots, before, after in zip(self.places, old, new, strict=True):
            start, base = before.data_ptr(), after.data_ptr()
            for k in slots:
                places[k], places[k + 1] = base, start
        self.prepared()
        return new

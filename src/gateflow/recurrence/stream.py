"""A cell's step outside of a loop over time: when it may be nothing but its kernel, and what its weights are then.

Weights may change in ways that torch does not count (fused optimizers, numpy, another process), so they are read again
at each step, unless the stream is frozen: by the kernel, which puts them in its order, or where they are very many by
torch's own operations, which read them as they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gateflow.backends import SingleStep, backend_of
from gateflow.cells import Cell
from gateflow.compiler import Step, look_at
from gateflow.recurrence.captured import step_for
from gateflow.recurrence.dispatch import path_is_forced
from gateflow.recurrence.private_torch import any_autocast, dispatch_modes, transforms

__all__ = ["Stream", "streams_now"]

MANY = 1 << 22
"""Numbers of weights, 16 MB of float32, from which on torch's operations read them faster as they lie."""

# Looked up once: of a step's 22 µs the kernel takes 10, and most of the rest is Python.
_address, _count, _shape, _stride = Tensor.data_ptr, Tensor.numel, attrgetter("shape"), Tensor.stride


def streams_now() -> bool:
    """Whether a step may be nothing but its kernel: nobody asks for its gradient, its operations, or another path.

    Example:
        >>> with torch.no_grad():
        ...     streams_now()
        True
    """
    if torch.is_grad_enabled() or torch.compiler.is_dynamo_compiling() or any_autocast() or transforms() is not None:
        return False
    return forward_ad._current_level < 0 and not dispatch_modes() and not path_is_forced()  # tracers are modes


def _layout(weights: Sequence[Tensor]) -> list[Any]:
    """What changes when a weight becomes another tensor."""
    # Strides too: a weight may be turned in place, at the same address (`turned_in_place` of the tests).
    return [*map(_address, weights), *map(_shape, weights), *map(_stride, weights)]


def _versions(weights: Sequence[Tensor]) -> list[int]:
    """What torch counts of the changes of weights; of some it counts nothing."""
    # Tensors of inference mode have no counter, and raise when asked for it.
    return [0 if w.is_inference() else w._version for w in weights]


class Stream:
    """A cell's step by its kernel, its weights read again at each step or, while frozen, when torch counts a change.

    Args:
        cell: the equations.

    Example:
        >>> from gateflow.cells import LSTM
        >>> cell, x, zeros = LSTM(3, 4), torch.zeros(1, 3), torch.zeros(1, 4)
        >>> stream, weights = Stream(cell), list(cell.parameters())
        >>> print(stream.step(weights, x, (zeros, zeros)))
        None
        >>> stream.prepare(weights, x, (zeros, zeros))
        True
        >>> h, c = stream.step(weights, x, (zeros, zeros))
        >>> h.shape
        torch.Size([1, 4])
    """

    def __init__(self, cell: Cell):
        self.cell = cell
        self._names = list(cell.parameter_shapes())
        self.frozen = 0
        self._ready: _Ready | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For copies: they have weights of their own."""
        return {"cell": self.cell, "_names": self._names, "frozen": 0, "_ready": None}

    def freeze(self) -> None:
        """From now on weights are kept as the kernel reads them; counted, so that `thaw` ends the last one."""
        self.frozen += 1
        self._ready = None

    def thaw(self) -> None:
        """The end of what `freeze` began."""
        self.frozen -= 1
        self._ready = None

    def step(self, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The new state after one step, or none where what is prepared does not fit.

        Args:
            weights: the cell's weights in the order of its parameters.
            x: input `[B, I]`.
            state: the parts of the state, `[B, size]`.
        """
        ready, frozen = self._ready, self.frozen > 0
        if not frozen and sum(map(_count, weights)) > MANY:
            return self._by_torch(weights, x, state)
        if ready is None or not ready.fits(weights, frozen=frozen):
            return None
        return ready.kernel(x, state, reread=not frozen)

    def _by_torch(self, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The step by torch's own operations, where its kernel could run it."""
        backend = backend_of(x.device)
        if backend is None or x.dtype not in backend.dtypes:
            return None
        if any(t.dtype != x.dtype or t.device != x.device for t in (*weights, *state)):
            return None
        step, _ = step_for(self.cell, zoneout=False, device=x.device, dtype=x.dtype)
        view = self.cell.over(dict(zip(self._names, weights, strict=True)))
        return None if step is None else view.bind().advance(x, tuple(state))

    def prepare(self, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> bool:
        """Prepares for such tensors; false where the native path cannot take them by their addresses."""
        tensors, backend = [*weights, x, *state], backend_of(x.device)
        if backend is None or x.dtype not in backend.dtypes or not all(type(t) is Tensor for t in (x, *state)):
            return False
        if not all(t.device == x.device and t.dtype == x.dtype for t in tensors):
            return False
        frozen = self.frozen > 0
        # A marked sign is not in the numbers that a kernel finds at the address.
        if any(w.is_neg() for w in weights):
            return False
        if not frozen and not all(w.is_contiguous() for w in weights):  # the kernel would read a copy
            return False
        step, _ = step_for(self.cell, zoneout=False, device=x.device, dtype=x.dtype)
        # What is made before a run is made at each step, by torch.
        if not isinstance(step, Step) or step.prepared or backend.obstacle_to(step, "stream", x.dtype) is not None:
            return False
        ready = self._ready
        if ready is None or not ready.fits(weights, frozen=frozen):
            # Not the parameters themselves, whose gradients would be kept with them.
            held = [w.detach() for w in weights]
            named = dict(zip(self._names, (w.contiguous() for w in held), strict=True))
            ready = self._ready = _Ready(self.cell, step, weights, held, backend.stream(step, named))
        ready.kernel.prepare(x, state)
        return True


class _Ready:
    """A prepared step, and what it was prepared for.

    `held` are the weights themselves: while they live, nothing else has their addresses.
    """

    def __init__(self, cell: Cell, step: Step, weights: Sequence[Tensor], held: Sequence[Tensor], kernel: SingleStep):
        self.cell, self.captured, self.held, self.kernel = cell, step, held, kernel
        self.layout, self.attributes, self.versions = _layout(weights), list(vars(cell).values()), _versions(weights)

    def fits(self, weights: Sequence[Tensor], *, frozen: bool) -> bool:
        """Whether what is prepared is for these weights and for what the cell's step computes now."""
        if _layout(weights) != self.layout:
            return False
        if frozen:
            now = vars(self.cell).values()
            return (
                _versions(weights) == self.versions
                and len(now) == len(self.attributes)
                # By identity: `==` of tensors compares numbers, and costs more than the step.
                and all(map(is_, now, self.attributes))
            )
        # Not frozen: any attribute may have changed (`test_an_attribute_that_changes_is_seen`).
        return look_at(self.cell) == self.captured

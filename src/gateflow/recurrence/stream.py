"""One step at a time: what stays the same from step to step is prepared once, so that little but the kernel is left.

Weights may change in ways that torch does not count (fused optimizers, numpy, another process), so they are read anew
at each step, unless the stream is frozen: by the kernel, which puts them in its order, where they are few, else by
torch's own operations, which read them as they lie.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gateflow.cells import Cell
from gateflow.compiler import Step, look_at
from gateflow.compiler.arguments import TO_PACK, TURN, Prepared, place
from gateflow.compiler.blocks import empty
from gateflow.compiler.kernel import REALS, Loop
from gateflow.compiler.plan import Kind
from gateflow.recurrence import compiled
from gateflow.recurrence.dispatch import path_is_forced
from gateflow.recurrence.native import Sequences

__all__ = ["Stream", "streams_now"]

FEW = 1 << 18
"""Numbers of weights that the kernel takes less time to put in its order than torch's operations to start."""
SHAPES = 64
"""Of batches that stay prepared; a beam search goes through some."""

_address, _count, _shape, _stride = Tensor.data_ptr, Tensor.numel, attrgetter("shape"), Tensor.stride
_empty_like = torch.empty_like
_transforms: Any = torch._C._functorch.peek_interpreter_stack  # pyright: ignore[reportAttributeAccessIssue]
_modes: Any = torch._C._len_torch_dispatch_stack  # pyright: ignore[reportAttributeAccessIssue]
_autocasts: Any = torch._C._is_any_autocast_enabled  # pyright: ignore[reportAttributeAccessIssue]


def streams_now() -> bool:
    """Whether a step may be nothing but its kernel: nobody asks for its gradient, its operations, or another path.

    Example:
        >>> with torch.no_grad():
        ...     streams_now()
        True
    """
    if torch.is_grad_enabled() or torch.compiler.is_dynamo_compiling() or _autocasts() or _transforms() is not None:
        return False
    return forward_ad._current_level < 0 and not _modes() and not path_is_forced()  # tracers are modes


def _layout(weights: Sequence[Tensor]) -> list[Any]:
    """What changes when a weight becomes another tensor."""
    return [*map(_address, weights), *map(_shape, weights), *map(_stride, weights)]


def _versions(weights: Sequence[Tensor]) -> list[int]:
    """What torch counts of the changes of weights; of some it counts nothing."""
    return [0 if w.is_inference() else w._version for w in weights]


class Stream:
    """A cell's step by its kernel. The weights are read anew at each step or, while frozen, when torch counts a change.

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
        if not frozen and sum(map(_count, weights)) > FEW:
            return self._by_torch(weights, x, state)
        if ready is None or not ready.fits(weights, frozen=frozen):
            return None
        batch = ready.batches.get((x.shape, torch.get_num_threads()))
        return None if batch is None else batch.step(x, state, anew=not frozen)

    def _by_torch(self, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """The step by torch's own operations, where its kernel could run it."""
        if x.dtype not in REALS or any(t.dtype != x.dtype or not t.is_cpu for t in (*weights, *state)):
            return None
        step, _ = compiled.step_for(self.cell, zoneout=False, device=x.device, dtype=x.dtype)
        view = self.cell.over(dict(zip(self._names, weights, strict=True)))
        return None if step is None else view.bind().advance(x, tuple(state))

    def prepare(self, weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> bool:
        """Makes ready for such tensors; false where the native path cannot take them by their addresses."""
        tensors = [*weights, x, *state]
        plain = all(t.is_cpu and t.dtype == x.dtype for t in tensors) and all(type(t) is Tensor for t in (x, *state))
        if not plain or x.dtype not in REALS:
            return False
        frozen = self.frozen > 0
        if any(w.is_neg() for w in weights):
            return False
        if not frozen and not all(w.is_contiguous() for w in weights):  # the kernel would read a copy
            return False
        step, _ = compiled.step_for(self.cell, zoneout=False, device=x.device, dtype=x.dtype)
        if not isinstance(step, Step) or step.cell.kernel.obstacle("stream", x.dtype) is not None:
            return False
        ready = self._ready
        if ready is None or not ready.fits(weights, frozen=frozen):
            ready = self._ready = _Ready(self.cell, step, weights)
        ready.add(x, state)
        return True


class _Ready:
    """Packed weights, and what is prepared for batches of some shapes on some number of threads."""

    def __init__(self, cell: Cell, step: Step, weights: Sequence[Tensor]):
        self.cell, self.captured, self.layout = cell, step, _layout(weights)
        self.attributes, self.versions = list(vars(cell).values()), _versions(weights)
        self.batches = dict[tuple[torch.Size, int], _Batch]()
        self.weights = [w.detach() for w in weights]  # while they live, nothing else has their addresses
        self.named = dict(zip(cell.parameter_shapes(), (w.contiguous() for w in self.weights), strict=True))
        self.panels: Tensor | None = None

    def fits(self, weights: Sequence[Tensor], *, frozen: bool) -> bool:
        """Whether what is prepared is for these weights and for what the cell's step computes now."""
        if _layout(weights) != self.layout:
            return False
        if frozen:
            now = vars(self.cell).values()
            return (
                _versions(weights) == self.versions
                and len(now) == len(self.attributes)
                and all(map(is_, now, self.attributes))
            )
        return look_at(self.cell) == self.captured

    def add(self, x: Tensor, state: Sequence[Tensor]) -> None:
        x, state = torch.empty(x.shape, dtype=x.dtype), [torch.empty(s.shape, dtype=s.dtype) for s in state]
        run = Sequences(self.captured, x, self.named, state, histories=list(state))
        loop = run.loop("stream")
        if self.panels is None:
            self.panels = empty(1, loop.form(run.sizes).panels, run.x.dtype)
        if len(self.batches) >= SHAPES:
            self.batches.clear()
        self.batches[x.shape, torch.get_num_threads()] = _Batch(run, loop, self.panels)


class _Batch:
    """The step of a batch of one shape."""

    def __init__(self, run: Sequences, loop: Loop, panels: Tensor):
        self.run, self.loop, self.panels = run, loop, panels
        self.dtype, self.shapes = run.x.dtype, [s.shape for s in run.states]
        self.to_pack = sum(len(each.terms) for each in loop.plan.passes)
        self.free = [self._prepared()]
        self.slots = self._slots()

    def _slots(self) -> list[int]:
        """Where the addresses of the input, of the old and of the new parts of the state are written."""
        rows = {(row.tensor, row.kind): place(k) for k, row in enumerate(self.loop.plan.rows)}
        names = [f"state.{node.name}" for node in self.run.programs.graph.states]
        new = [rows[name, Kind.STEP] for name in names]
        old = [rows.get((name, Kind.PREVIOUS), row) + 1 for name, row in zip(names, new, strict=True)]
        return [rows.get(("x", Kind.STEP), old[0]), *old, *new]  # what is read by nobody goes where nobody looks

    def _prepared(self) -> tuple[Prepared, ctypes.c_void_p]:
        """A run that has packed the weights, and the address of its arguments."""
        one = self.loop.prepare(self.run.span(self.loop, 0, 0), self.run.known(), self.run.sizes, self.panels)
        one()
        return one, one.address

    def step(self, x: Tensor, state: Sequence[Tensor], *, anew: bool) -> tuple[Tensor, ...] | None:
        """One step, with the weights packed `anew` or as they were; none for tensors that do not fit."""
        dtype = self.dtype
        if x.dtype != dtype or not x.is_cpu or type(x) is not Tensor or x.is_neg() or len(state) != len(self.shapes):
            return None
        for part, shape in zip(state, self.shapes):  # noqa: B905  (their number has been compared)
            if part.shape != shape or part.dtype != dtype or not part.is_cpu or type(part) is not Tensor:
                return None
            if not part.is_contiguous() or part.is_neg():
                return None
        new = tuple([_empty_like(part) for part in state])
        try:
            free = self.free.pop()  # calls from several threads at once have places of their own
        except IndexError:
            free = self._prepared()
        prepared, call = free
        x, numbers = x.contiguous(), prepared.numbers
        for slot, address in zip(self.slots, map(_address, (x, *state, *new))):  # noqa: B905
            numbers[slot] = address
        numbers[TO_PACK] = self.to_pack if anew else 0
        numbers[TURN] ^= 1  # of weights too large for the cache, what the last step ended with is still there
        prepared.function(call)
        self.free.append(free)
        return new

"""One step at a time: what stays the same from step to step is prepared once, so that little but the kernel is left."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gateflow.backends.base import Sequences, SingleStep
from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import BACKWARDS, ON_USE, TO_PACK, Prepared, place
from gateflow.backends.cpu.kernel import CompiledLoop
from gateflow.backends.cpu.launch import Launch
from gateflow.compiler import Step
from gateflow.compiler.plan import Kind

__all__ = ["PackedStep"]

SHAPES = 64
"""Of batches that stay prepared; a beam search goes through some."""

# Looked up once: a step takes some 22 µs, of which every attribute is a part.
_address, _empty_like = Tensor.data_ptr, torch.empty_like


class PackedStep(SingleStep):
    """Packed weights, and what is prepared for batches of some shapes on some number of threads."""

    def __init__(self, step: Step, weights: Mapping[str, Tensor]):
        self.captured, self.weights = step, weights
        self.batches = dict[tuple[torch.Size, int], _Batch]()
        self.panels: Tensor | None = None

    def prepare(self, x: Tensor, state: Sequence[Tensor]) -> None:
        """Prepares for a batch of this shape, on as many threads as torch has now."""
        # Tensors of its own: what is prepared outlives the call, and must not keep the user's.
        x, state = torch.empty(x.shape, dtype=x.dtype), [torch.empty(s.shape, dtype=s.dtype) for s in state]
        run = Sequences(self.captured, x, self.weights, state, histories=list(state))
        launch = Launch(run)
        loop = launch.loop("stream")
        if self.panels is None:
            self.panels = empty(1, loop.form(run.sizes).panels, run.x.dtype)
        # A generator of many shapes must not fill the memory with what it has prepared.
        if len(self.batches) >= SHAPES:
            self.batches.clear()
        self.batches[x.shape, torch.get_num_threads()] = _Batch(launch, loop, self.panels)

    def __call__(self, x: Tensor, state: Sequence[Tensor], *, reread: bool) -> tuple[Tensor, ...] | None:
        """One step of a batch that has been prepared."""
        batch = self.batches.get((x.shape, torch.get_num_threads()))
        return None if batch is None else batch.step(x, state, reread=reread)


class _Batch:
    """The step of a batch of one shape."""

    def __init__(self, launch: Launch, loop: CompiledLoop, panels: Tensor):
        self.launch, self.loop, self.panels = launch, loop, panels
        self.dtype, self.shapes = launch.run.x.dtype, [s.shape for s in launch.run.states]
        # Rounded weights are packed before the step.
        on_use = loop.packs_on_use(launch.span(loop, 0, 0))
        self.again = (ON_USE, 1) if on_use else (TO_PACK, sum(len(each.terms) for each in loop.plan.passes))
        self.free = [self._prepared()]
        self.places = self._places()

    def _places(self) -> list[tuple[int, int, int]]:
        """Where addresses are written, of which tensor among input, old and new parts of the state, and how far in."""
        names = [f"state.{node.name}" for node in self.launch.run.step.cell.graph.states]
        tensors = [("x", Kind.STEP), *((n, Kind.PREVIOUS) for n in names), *((n, Kind.STEP) for n in names)]
        places = list[tuple[int, int, int]]()
        for k, row in enumerate(self.loop.plan.rows):
            if (row.tensor, row.kind) in tensors:
                # An old part is found as the line before the first step, the second number of a place.
                offset = row.begin(self.launch.run.sizes) * self.dtype.itemsize
                which = tensors.index((row.tensor, row.kind))
                places.append((place(k) + (row.kind is Kind.PREVIOUS), which, offset))
        return places

    def _prepared(self) -> tuple[Prepared, ctypes.c_void_p]:
        """A run that has packed the weights, and the address of its arguments."""
        one = self.launch.prepare(self.loop, 0, 0, self.launch.known(), self.panels)
        one()
        return one, one.address

    def step(self, x: Tensor, state: Sequence[Tensor], *, reread: bool) -> tuple[Tensor, ...] | None:
        """One step, with the weights packed again or as they were; none for tensors that do not fit."""
        dtype = self.dtype
        # A subclass may have no memory of its own, a marked sign is not in the numbers: neither is read by its address.
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
        addresses = [*map(_address, (x, *state, *new))]
        for at, which, offset in self.places:
            numbers[at] = addresses[which] + offset
        at, value = self.again
        numbers[at] = value if reread else 0
        numbers[BACKWARDS] ^= 1  # of weights too large for the cache, what the last step ended with is still there
        prepared.function(call)
        self.free.append(free)
        return new

"""Kernel: a cell's loops as functions over tensors, built when they are first needed."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import Form, Lines, Prepared, Span
from gateflow.backends.cpu.build import build, load
from gateflow.backends.cpu.emit import emit
from gateflow.backends.cpu.partition import GROUP
from gateflow.backends.cpu.repeated import Repeats
from gateflow.compiler import CompiledCell, Costs
from gateflow.compiler.node import Sizes
from gateflow.compiler.plan import Plan
from gateflow.compiler.programs import Programs
from gateflow.errors import BuildError

__all__ = ["COSTS", "REALS", "CompiledLoop", "Kernel", "kernel_of"]

COSTS = Costs(load=3)
"""Storing a row in the first-level cache and loading it again takes about as long as three additions of its units."""
REALS = {torch.float32: "float", torch.float64: "double"}
AHEAD = 256
"""Lines (samples × steps) whose products of the input are computed at once: weights read rarely, results still near."""
_CACHE = 1 << 20
"""Bytes that stay in the cache between the forward and the backward loop."""
# A training step needs both: one run of the compiler instead of two, of a second or two each.
_BUILT_TOGETHER = {"infer": ("infer",), "train": ("train", "backward"), "backward": ("train", "backward")}


_kernels: dict[str, Kernel] = {}


@functools.cache
def kernel_of(cell: CompiledCell) -> Kernel:
    """The kernel of a compiled cell, one for all sizes."""
    # By the text, so that cells of all sizes share one library.
    return _kernels.setdefault(cell.text, Kernel(cell.programs(COSTS)))


class Kernel:
    """The compiled loops of one graph, for any sizes, in fp32 and fp64."""

    def __init__(self, programs: Programs):
        self.programs = programs

    def loop(self, name: str, dtype: torch.dtype, products: torch.dtype | None = None) -> CompiledLoop:
        """One loop, built at first use.

        Args:
            name: "infer", "train", "backward", "recompute" or "stream".
            dtype: of states, sums and equations.
            products: `torch.bfloat16` to round the factors of products to it; none for `dtype`.

        Raises:
            BuildError: there is no compiler, or it fails.
        """
        return self._loops(name, dtype, products)

    @functools.cache  # noqa: B019  (kernels live as long as the process)
    def obstacle(self, name: str, dtype: torch.dtype, products: torch.dtype | None = None) -> str | None:
        """Why this loop cannot be built, in words; none if it is there now. It is tried once in a process."""
        try:
            self._loops(name, dtype, products)
        except BuildError as problem:
            return str(problem)
        # `_demand` of `planning.py` goes as deep as a chain of operations is long.
        except RecursionError:
            return "its step is too long for the compiler"
        return None

    @functools.cache  # noqa: B019  (kernels live as long as the process)
    def _loops(self, name: str, dtype: torch.dtype, products: torch.dtype | None) -> CompiledLoop:
        names = _BUILT_TOGETHER.get(name, (name,))
        # By flags, so that one text serves both dtypes and both kinds of products.
        flags = (f"-DGATEFLOW_REAL={REALS[dtype]}", *(["-DGATEFLOW_BF16_PRODUCTS"] if products else []))
        library = load(build(emit(self.programs, names), extra_flags=flags))
        return CompiledLoop(getattr(self.programs, name), library, name, dtype, rounded=products is not None)


class CompiledLoop:
    """One loop over time as a function of tensors."""

    def __init__(self, plan: Plan, library: ctypes.CDLL, name: str, dtype: torch.dtype, *, rounded: bool):
        self.plan, self.dtype, self.rounded = plan, dtype, rounded
        self._run = getattr(library, name)
        self._panels = library.size_of_panels
        self._panels.argtypes, self._panels.restype = [ctypes.c_int64] * 3, ctypes.c_int64
        self.parameters, self.repeats = plan.parameters, Repeats[Any]()

    def prepare(
        self, span: Span, tensors: Mapping[str, Lines], sizes: Mapping[str, int], panels: Tensor | None = None
    ) -> Prepared:
        """A run over the steps of `span`; `panels` is what another run has made of the same weights."""
        form, reduced = self.form(sizes), self._reduced(span, sizes)
        lines = {"scratch": span.samples, "number": span.samples, "hoisted": span.samples * _steps_ahead(span)}
        shapes = {n: (k, form.columns[n]) for n, k in lines.items() if n in form.columns}
        on_use = panels is None and self.packs_on_use(span)
        if panels is None:
            shapes["panels"] = (1, 0 if on_use else form.panels)
        own, parts = self._memory(shapes)
        tensors = {**tensors, **parts} | ({} if panels is None else {"panels": Lines(panels)})
        saved = tensors["saved"].tensor.nbytes if "saved" in tensors else 0
        # What is kept goes past the caches only where it is larger than they are: else the backward loop finds it
        # there.
        numbers = form.filled(span, tensors, reduced, _steps_ahead(span), saved > _CACHE, on_use)
        return Prepared(self._run, numbers, reduced, own, span.shared.bounds, (span, tensors))

    def _memory(self, shapes: Mapping[str, tuple[int, int]]) -> tuple[Tensor, dict[str, Lines]]:
        """One block, and its parts by name."""
        line = 64 // self.dtype.itemsize  # of the cache: parts begin with one
        sizes = [-(-lines * columns // line) * line for lines, columns in shapes.values()]
        block = empty(1, sum(sizes), self.dtype)
        parts = zip(shapes.items(), block[0].split(sizes), strict=True)
        return block, {name: Lines(part[: k * n].view(k, n)) for (name, (k, n)), part in parts}

    def packs_on_use(self, span: Span) -> bool:
        """Whether weights are put in order when they are used; rounded ones are always packed before."""
        return span.packs_on_use and not self.rounded

    def columns(self, tensor: str, sizes: Mapping[str, int]) -> int:
        """How many numbers a line of a tensor has."""
        return self.form(sizes).columns.get(tensor, 0)

    def form(self, sizes: Mapping[str, int]) -> Form:
        """The arguments of all runs with these sizes."""
        return self._form(tuple(sizes.items()))

    @functools.cache  # noqa: B019  (loops live as long as the process)
    def _form(self, widths: tuple[tuple[str, int], ...]) -> Form:
        return Form(self.plan, Sizes(widths), self._panels, self.dtype.itemsize)

    def _reduced(self, span: Span, sizes: Mapping[str, int]) -> Tensor | None:
        if not self.parameters:
            return None
        columns = max(sizes[each.width] for each in self.plan.passes if each.reductions)
        # A sum for each group of samples, added up in one order afterwards: no bit depends on how threads divide them
        # (`test_the_number_of_threads_changes_no_bit`).
        return torch.zeros(-(-span.samples // GROUP), len(self.parameters), columns, dtype=self.dtype)


def _steps_ahead(span: Span) -> int:
    """How many steps a block has, for which passes run ahead."""
    # At least one step: a batch may be larger than the block.
    return max(1, min(span.length, AHEAD // max(span.samples, 1)))

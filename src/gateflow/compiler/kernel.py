"""Kernel: a cell's loops as functions over tensors, built when they are first needed."""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.compiler.blocks import empty
from gateflow.compiler.build import build, load
from gateflow.compiler.emit_cpp import WIDTHS, emit
from gateflow.compiler.gemm import Gemms
from gateflow.compiler.plan import Kind, Plan, Term
from gateflow.compiler.programs import Programs

__all__ = ["GROUP", "REALS", "TURN", "Kernel", "Lines", "Loop", "Prepared", "Span"]

REALS = {torch.float32: "float", torch.float64: "double"}
AHEAD = 256
"""Lines (samples × steps) whose products of the input are computed at once: weights read rarely, results still near."""
GROUP = 4
"""Samples whose gradients of a vector are summed together, whatever the threads: as in `recurrence.h`."""
_FIRST, _THREADS, TURN, _TO_PACK, _GEMMS = 2, 5, 17, 19, 20
"""Places in a `Call`, see `recurrence.h`."""
_CACHE = 1 << 20
"""Bytes that stay in the cache between the way there and the way back."""
_BUILT_TOGETHER = {"infer": ("infer",), "train": ("train", "backward"), "backward": ("train", "backward")}


@dataclass(frozen=True)
class Lines:
    """A tensor whose lines are the rows of samples at steps.

    `start` are the lines before the first step, one per sample, where the tensor is a state. A tensor `of_a_chunk` has
    the lines of some steps at a time; see `Prepared.move`.
    """

    tensor: Tensor
    start: Tensor | None = None
    of_a_chunk: bool = False


@dataclass(frozen=True)
class Span:
    """Which steps to run, in which order, and how threads share the work."""

    steps: int
    samples: int
    first: int
    last: int
    reverse: bool
    offsets: Tensor | None
    threads: int
    bounds: Tensor | None


@dataclass(frozen=True)
class Panels:
    """The weights of a loop's products in the order in which the kernel reads them, and how to bring them into it."""

    tensors: list[Tensor]
    matrices: array
    held: object


@dataclass(frozen=True)
class Prepared:
    """The arguments of a run, as the loop reads them. Calling it runs the loop; the first time, weights are packed.

    `gathered` are the gradients of vectors, which every run adds to: `[groups of samples, vectors, H]`. What the
    addresses point to is `held`.
    """

    function: Any
    call: array
    places: array
    gathered: Tensor
    origins: Sequence[int]
    held: object

    def __call__(self) -> None:
        """Runs the loop."""
        self.function(ctypes.c_void_p(self.call.buffer_info()[0]))
        self.call[_TO_PACK] = 0

    def followed_by(self, gemms: Gemms) -> None:
        """Runs the loop and then large products."""
        listed = gemms.listed()
        self.call[_GEMMS:] = array("q", [_pointer(listed), len(gemms), _pointer(gemms.blas), gemms.threads])
        self()

    def only(self, gemms: Gemms) -> None:
        """Runs large products alone."""
        threads, self.call[_THREADS] = self.call[_THREADS], 0
        self.followed_by(gemms)
        self.call[_THREADS], self.call[_GEMMS + 1] = threads, 0

    def move(self, first: int, last: int, line: int) -> None:
        """Makes the next run one over other steps; the tensors of a chunk begin with that line."""
        self.call[_FIRST : _FIRST + 2] = array("q", [first, last])
        for k in self.origins:
            self.places[k] = line


class Kernel:
    """The compiled loops of one graph, for any sizes, in fp32 and fp64.

    `equations` is the cell without weights: the reference that stands in where the loops have no derivative.
    """

    def __init__(self, programs: Programs, equations: Cell):
        self.programs, self.equations = programs, equations

    def loop(self, name: str, dtype: torch.dtype, products: torch.dtype | None = None) -> Loop:
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
    def _loops(self, name: str, dtype: torch.dtype, products: torch.dtype | None) -> Loop:
        names = _BUILT_TOGETHER.get(name, (name,))
        flags = (f"-DGATEFLOW_REAL={REALS[dtype]}", *(["-DGATEFLOW_BF16_PRODUCTS"] if products else []))
        library = load(build(emit(self.programs, names), extra_flags=flags))
        return Loop(getattr(self.programs, name), library, name, dtype)


@dataclass(frozen=True)
class _Layout:
    """For given sizes: each row's tensor, the byte where it begins, whether all lines are one; columns of tensors."""

    places: list[tuple[str, int, bool]]
    columns: dict[str, int]


class Loop:
    """One loop over time as a function of tensors."""

    def __init__(self, plan: Plan, library: ctypes.CDLL, name: str, dtype: torch.dtype):
        self.plan, self.dtype = plan, dtype
        self._run = getattr(library, name)
        self._lanes = int(library.lanes_of_a_vector())
        self._terms = [term for each in plan.passes for term in each.terms]
        self.parameters = plan.parameters

    def panels(self, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Panels:
        """Where the weights of the loop's products are packed, before the first step of the first run."""
        matrices, tensors, held = array("q"), [], []
        for term in self._terms:
            starts, depths, *numbers = self._matrices(term, weights, sizes)
            tensors.append(self._panels(term, numbers[2], depths))
            matrices.extend((_pointer(starts), _pointer(depths), *numbers, tensors[-1].data_ptr()))
            held += starts, depths
        return Panels(tensors, matrices, (held, weights))

    def prepare(self, span: Span, tensors: Mapping[str, Lines], panels: Panels, sizes: Mapping[str, int]) -> Prepared:
        """The arguments of a run over the steps of `span`."""
        layout = self._layout(tuple(sizes.items()))
        own, groups = self._own(span, layout), -(-span.samples // GROUP) if self.parameters else 0
        gathered = torch.zeros(groups, len(self.parameters), sizes["H"], dtype=self.dtype)
        places, at = array("q"), {n: _addresses(own.get(n) or tensors[n]) for n in layout.columns}
        for tensor, offset, fixed in layout.places:
            base, start, stride = at[tensor]
            places.extend((base + offset, start, 0 if fixed else stride, 0))
        chunked = {n for n in layout.columns if n in tensors and tensors[n].of_a_chunk}
        origins = [4 * k + 3 for k, (tensor, _, _) in enumerate(layout.places) if tensor in chunked]
        weights = array("q", [panel.data_ptr() for panel in panels.tensors])
        saved = tensors["saved"].tensor.nbytes if "saved" in tensors else 0
        call = array("q", [span.steps, span.samples, span.first, span.last, span.reverse, span.threads])
        call.extend([_address(span.bounds), _address(span.offsets), *(sizes[w] for w in WIDTHS)])
        call.extend([_pointer(places), _pointer(weights), gathered.data_ptr(), _steps_ahead(span), saved > _CACHE, 0])
        call.extend([_pointer(panels.matrices), len(self._terms), 0, 0, 0, 0])
        return Prepared(self._run, call, places, gathered, origins, (span, tensors, own, panels, weights))

    def columns(self, tensor: str, sizes: Mapping[str, int]) -> int:
        """How many numbers a line of a tensor has."""
        return self._layout(tuple(sizes.items())).columns.get(tensor, 0)

    @functools.cache  # noqa: B019  (loops live as long as the process)
    def _layout(self, widths: tuple[tuple[str, int], ...]) -> _Layout:
        sizes, item = dict(widths), self.dtype.itemsize
        places = [(r.tensor, r.begin(sizes) * item, r.kind is Kind.FIXED) for r in self.plan.rows]
        names = dict.fromkeys(row.tensor for row in self.plan.rows)
        return _Layout(places, {n: sum(sizes[width] for width in self.plan.columns(n)) for n in names})

    def _own(self, span: Span, layout: _Layout) -> dict[str, Lines]:
        """Rows that only this loop uses: one line per sample, or as many as a chunk of steps has."""
        lines = {"scratch": span.samples, "number": span.samples, "hoisted": span.samples * _steps_ahead(span)}
        columns = layout.columns
        return {n: Lines(empty(lines[n], columns[n], self.dtype)) for n in lines.keys() & columns.keys()}

    def _matrices(self, term: Term, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> tuple[Any, ...]:
        """What `Matrices` in `product.h` begins with: starts, depths, column blocks, gates, units and two strides."""
        first = term.weights[0][0]
        width, item = weights[first.name].stride(0), self.dtype.itemsize
        starts = array("q")
        for weight in chain.from_iterable(term.weights):
            begin = weight.block * sizes[weight.rows] * width * item
            starts.append(weights[weight.name].data_ptr() + begin)
        depths = array("q", [sizes[each] for each in term.columns])
        units = sizes[first.columns if first.transposed else first.rows]
        strides = (1, width) if first.transposed else (width, 1)
        return starts, depths, len(depths), term.count, units, *strides

    def _panels(self, term: Term, units: int, depths: Sequence[int]) -> Tensor:
        return empty(-(-units // self._lanes), sum(depths) * term.count * self._lanes, self.dtype)


def _addresses(lines: Lines) -> tuple[int, int, int]:
    return lines.tensor.data_ptr(), _address(lines.start), lines.tensor.stride(0)


def _steps_ahead(span: Span) -> int:
    """How many steps a chunk has."""
    return max(1, min(abs(span.last - span.first) + 1, AHEAD // max(span.samples, 1)))


def _pointer(numbers: array) -> int:
    return numbers.buffer_info()[0]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()

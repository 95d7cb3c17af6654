"""The arguments of a run: one block of 64-bit numbers, as `native/recurrence.h` reads it.

    Call │ a Place for each row │ panels of each term │ Matrices of each term │ where their gates begin, depths

What the plan and the sizes decide is written once, into a form. A run copies it and fills in where its tensors lie.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from torch import Tensor

from gateflow.backends.cpu.gemm import Gemms
from gateflow.backends.cpu.partition import Partition
from gateflow.compiler.node import Weight
from gateflow.compiler.plan import Kind, Plan, Row, Term

__all__ = ["BACKWARDS", "ON_USE", "TO_PACK", "Chunk", "Form", "Lines", "Prepared", "Span", "place"]

# `recurrence.h` asserts the same sizes: what is added to a structure on one side alone does not compile.
_CALL, _PLACE, _MATRICES, _CHUNK = 27, 4, 8, 5
"""How many numbers the structures of `recurrence.h` and `product.h` have."""
_CHUNKS, _GROUPS, _WIDTHS, _PLACES, _REDUCED, BACKWARDS, TO_PACK, _BLAS, _PARTS, ON_USE = (
    2,
    5,
    8,
    9,
    11,
    15,
    17,
    18,
    20,
    21,
)
"""Which number of a `Call` is what."""


class Lines(NamedTuple):
    """A tensor whose lines are the rows of samples at steps.

    `start` are the lines before the first step, one per sample, where the tensor is a state. A tensor `of_a_chunk` has
    the lines of one chunk at a time.
    """

    tensor: Tensor
    start: Tensor | None = None
    of_a_chunk: bool = False


class Chunk(NamedTuple):
    """Some steps, in either direction, that have the lines from `begin` to `end`; and products that follow them."""

    first: int
    last: int
    begin: int
    end: int
    gemms: Gemms | None = None


@dataclass(frozen=True)
class Span:
    """Which steps to run, in which order, and how threads share the work."""

    steps: int
    samples: int
    first: int
    last: int
    reverse: bool
    offsets: Tensor | None
    shared: Partition

    @property
    def length(self) -> int:
        """How many steps."""
        return abs(self.last - self.first) + 1

    @property
    def packs_on_use(self) -> bool:
        """Whether weights are put in order when they are used."""
        return self.length <= FEW_STEPS


# For an LSTM of 256 units and one row, microseconds: to pack 113, and a step 28; with weights ordered on use a step 53.
FEW_STEPS = 4
"""Steps up to which packing the weights takes longer than putting them in order at each."""


def place(row: int) -> int:
    """Which number says where the row with that number is; the next says where its start is."""
    return _CALL + _PLACE * row


class Form:
    """The arguments of a plan's runs for given sizes, with room for the addresses of tensors.

    Args:
        plan: the passes.
        sizes: what the widths of rows are.
        panels: how many numbers the weights of a product take, by units, depth and gates.
        item: bytes of a number.
    """

    def __init__(self, plan: Plan, sizes: Mapping[str, int], panels: Callable[[int, int, int], int], item: int):
        self.sizes, self.item, self.size_of_panels = sizes, item, panels
        self.tensors = list(dict.fromkeys([*(row.tensor for row in plan.rows), "panels"]))
        self.columns = {n: sum(sizes[w] for w in plan.columns(n)) for n in self.tensors}
        self.numbers, self.panels = array("q", bytes(8 * _CALL)), 0
        self.inner, self.rooms = list[tuple[int, int]](), list[tuple[int, str, int, int]]()
        self.places = self._add_places(plan.rows)
        self._add_terms([term for each in plan.passes for term in each.terms])
        self.chunk = self._pointed_at_by(_CHUNKS, _CHUNK)
        # The chunk is a part of the block: a run without products (`Prepared.__call__`) needs no list of chunks.
        self.numbers[_CHUNKS + 1] = 1
        widths = self._pointed_at_by(_WIDTHS, len(plan.widths))
        self.numbers[widths : widths + len(plan.widths)] = array("q", [sizes[width] for width in plan.widths])
        order = {name: 3 * k for k, name in enumerate(self.tensors)}
        self.outer = [(at, order[name] + which, offset) for at, name, which, offset in self.rooms]

    def filled(
        self,
        span: Span,
        tensors: Mapping[str, Lines],
        reduced: Tensor | None,
        ahead: int,
        past_caches: bool,
        on_use: bool,
    ) -> array:
        """The arguments of a run over the steps of `span`. The tensors must outlive it."""
        # A copy of the form: what depends on sizes alone is worked out once, not in each of many short calls.
        numbers, values = self.numbers[:], list[int]()
        for tensor, start, _ in [tensors[name] for name in self.tensors]:
            values += tensor.data_ptr(), 0 if start is None else start.data_ptr(), tensor.stride(0)
        for at, which, offset in self.outer:
            numbers[at] = values[which] + offset
        # Pointers within the block are known only now that it has its place.
        begin = numbers.buffer_info()[0]
        for at, to in self.inner:
            numbers[at] = begin + 8 * to
        for at, name in self.places:
            numbers[at] = tensors[name].of_a_chunk
        groups, parts, _ = span.shared
        bounds, offsets = [0 if t is None else t.data_ptr() for t in (span.shared.bounds, span.offsets)]
        numbers[:2] = array("q", [span.steps, span.samples])
        numbers[_GROUPS - 1 : _WIDTHS] = array("q", [span.reverse, groups, bounds, offsets])
        numbers[_PARTS : _PARTS + 2] = array("q", [parts, on_use])
        if on_use:
            numbers[TO_PACK] = 0
        sums, longest = (0, 0) if reduced is None else (reduced.data_ptr(), reduced.shape[2])
        numbers[_REDUCED : _REDUCED + 4] = array("q", [sums, longest, ahead, past_caches])
        numbers[self.chunk : self.chunk + 2] = array("q", [span.first, span.last])
        return numbers

    def _pointed_at_by(self, pointer: int, count: int) -> int:
        """Appends numbers to which another one points; returns where they begin."""
        begin = len(self.numbers)
        self.numbers.extend([0] * count)
        self.inner.append((pointer, begin))
        return begin

    def _add(self, at: int, tensor: str, which: int, offset: int = 0) -> None:
        """Makes room for where a tensor is (0), where its start is (1) or what lies between its lines (2)."""
        self.rooms.append((at, tensor, which, offset))

    def _add_places(self, rows: Sequence[Row]) -> list[tuple[int, str]]:
        """A `Place` for each row; returns which numbers tell whether its tensor is of a chunk."""
        self._pointed_at_by(_PLACES, _PLACE * len(rows))
        for k, row in enumerate(rows):
            offset = row.begin(self.sizes) * self.item
            self._add(place(k), row.tensor, 0, offset)
            self._add(place(k) + 1, row.tensor, 1, offset)
            # 0 between the lines of a vector: all samples and steps find the same one.
            if row.kind is not Kind.FIXED:
                self._add(place(k) + 2, row.tensor, 2)
        return [(place(k) + 3, row.tensor) for k, row in enumerate(rows)]

    def _add_terms(self, terms: Sequence[Term]) -> None:
        """Where the panels of each term are, and the `Matrices` that go there."""
        panels = self._pointed_at_by(_PLACES + 1, len(terms))
        matrices = self._pointed_at_by(TO_PACK - 1, _MATRICES * len(terms))
        self.numbers[TO_PACK] = len(terms)
        for k, term in enumerate(terms):
            self._add(panels + k, "panels", 0, self.panels * self.item)
            self._add_matrices(matrices + _MATRICES * k, term)

    def _add_matrices(self, at: int, term: Term) -> None:
        """The weights of a term: starts, depths, column blocks, gates, units, two strides, and where panels go."""
        first, sizes = term.weights[0][0], self.sizes
        depths, weights = [sizes[width] for width in term.columns], list(chain.from_iterable(term.weights))
        units, width = sizes[first.columns if first.transposed else first.rows], sizes[first.columns]
        # A transposed weight is read where it lies: backward and forward share one tensor.
        strides = (1, width) if first.transposed else (width, 1)
        for k, weight in enumerate(weights, start=self._pointed_at_by(at, len(weights))):
            self._add(k, self._weight(weight), 0, weight.block * sizes[weight.rows] * width * self.item)
        listed = self._pointed_at_by(at + 1, len(depths))
        self.numbers[listed : listed + len(depths)] = array("q", depths)
        self.numbers[at + 2 : at + 7] = array("q", [len(depths), term.count, units, *strides])
        self._add(at + 7, "panels", 0, self.panels * self.item)
        # The kernel says how much: in pairs, bfloat16 takes half (`in_pairs` of `factors.h`).
        self.panels += self.size_of_panels(units, sum(depths), term.count)

    def _weight(self, weight: Weight) -> str:
        name = f"weights.{weight.name}"
        if name not in self.tensors:
            self.tensors.append(name)
        return name


@dataclass
class Prepared:
    """The arguments of a run, as the loop reads them. Calling it runs the loop; the first time, weights are packed.

    `reduced` are the gradients of vectors, which every run adds to: `[groups of samples, vectors, H]`. `own` is the
    memory that it has to itself, `bounds` where groups of samples begin. What else the addresses point to is `held`.
    """

    function: Any
    numbers: array
    reduced: Tensor | None
    own: Tensor
    bounds: Tensor | None
    held: object

    @property
    def address(self) -> ctypes.c_void_p:
        """Where the arguments are."""
        return ctypes.c_void_p(self.numbers.buffer_info()[0])

    def __call__(self) -> None:
        """Runs the loop."""
        self.function(self.address)
        # Once packed, the panels serve all later steps and chunks of the run.
        self.numbers[TO_PACK] = 0

    def over(self, chunks: Sequence[Chunk]) -> None:
        """Runs the loop over other steps, chunk by chunk, each followed by its products."""
        held = self.listed(chunks)
        self()
        del held  # alive until now: the kernel knows their addresses alone

    def listed(self, chunks: Sequence[Chunk]) -> list[array]:
        """Sets other steps and the products that follow them; returns the lists, which must be kept for the run."""
        numbers, held, team, blas = array("q"), [], 0, 0
        for first, last, begin, _, gemms in chunks:
            numbers.extend([first, last, begin, 0, 0])
            if gemms is not None:
                held.append(gemms.listed())
                numbers[-2], numbers[-1] = held[-1].buffer_info()[0], len(gemms)
                team, blas = max(team, gemms.threads), gemms.blas.buffer_info()[0]
        self.numbers[_CHUNKS : _CHUNKS + 2] = array("q", [numbers.buffer_info()[0], len(chunks)])
        self.numbers[_BLAS : _BLAS + 2] = array("q", [blas, team])
        return [numbers, *held]

    def only(self, gemms: Gemms) -> None:
        """Runs products alone."""
        # Without threads for steps the team goes to the products at once.
        groups, self.numbers[_GROUPS] = self.numbers[_GROUPS], 0
        self.over([Chunk(0, 0, 0, 0, gemms)])
        self.numbers[_GROUPS] = groups

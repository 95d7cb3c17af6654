"""What a plan is: the passes of one step over the units of a row, and the rows of memory that they touch.

    pass 1 over H:                                      one loop over the units
        sums 0 to 1 += (weight_hh[0] weight_hh[1]) @ …  a term: products into registers
        c = state.c.previous                            a load
        mul_10 = mul(sigmoid_6, tanh_9)                 the body, unit by unit
        state.c = add_14                                a store

`planning.py` makes plans; `emit.py` and back ends read them, so they are frozen.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from gateflow.compiler.graph import names_of
from gateflow.compiler.node import Node, Weight, in_order

__all__ = ["WIDTHS", "Costs", "Kind", "Pass", "Plan", "Row", "Term"]

WIDTHS = ("H", "P", "I", "1")
"""What rows can be wide: units, numbers of the first part of the state where it is projected, inputs, one. Other rows
have their size for a name."""


@dataclass(frozen=True)
class Costs:
    """What a back end pays, in simple operations per unit such as an addition.

    Attributes:
        load: for storing a row and loading it again in a later pass. What takes no more operations is computed again.
    """

    load: int


class Kind(Enum):
    """How a row is found: by step and sample, by sample alone, or the same for all."""

    STEP = "step"
    AHEAD = "ahead"  # as STEP, in the memory of one block of steps, for which a pass runs ahead
    PREVIOUS = "previous"  # the row of the step before, or of the start
    SAMPLE = "sample"
    FIXED = "fixed"


@dataclass(frozen=True)
class Row:
    """Where a row lies: a tensor, and the widths of the rows before it in the same line of the tensor.

    A slice of a row is a row as well: `within` is the width of the whole one, `offset` where the slice begins in it.
    """

    # `weights.NAME` and `state.NAME` have a prefix, so that no name of a user is a name of ours.
    tensor: str
    kind: Kind
    width: str = "H"
    # Widths, not numbers of columns: one plan serves all sizes.
    before: tuple[str, ...] = ()
    within: str = ""
    offset: int = 0

    def begin(self, sizes: Mapping[str, int]) -> int:
        """The number of its first column in a line of the tensor."""
        return sum(sizes[width] for width in self.before) + self.offset

    def part(self, width: str, offset: int) -> Row:
        """A slice of this row."""
        return replace(self, width=width, within=self.within or self.width, offset=self.offset + offset)

    @property
    def whole(self) -> Row:
        """The row that this one is a slice of; itself if it is none."""
        return replace(self, width=self.within, within="", offset=0) if self.within else self

    def __str__(self) -> str:
        place = f"[{len(self.before)}]" if self.tensor in ("hoisted", "saved", "delta", "operand", "scratch") else ""
        place += f"[{self.offset}:]" if self.within else ""
        return f"{self.tensor}{place}" + (".previous" if self.kind is Kind.PREVIOUS else "")


@dataclass(frozen=True)
class Term:
    """One matrix product of a pass: adjacent operand rows times weights, added to accumulators from `first` on."""

    operand: Row
    columns: tuple[str, ...]
    first: int
    weights: tuple[tuple[Weight, ...], ...]

    @property
    def count(self) -> int:
        """How many accumulators the term adds to."""
        return len(self.weights[0])

    def __str__(self) -> str:
        blocks = ", ".join(" ".join(str(w) for w in block) for block in self.weights)
        return f"sums {self.first} to {self.first + self.count - 1} += ({blocks}) @ {self.operand}"


@dataclass(frozen=True, eq=False)
class Pass:
    """One loop over the units of a row: products into registers, then everything computed unit by unit.

    Attributes:
        width: the units that the loop goes over.
        products: results of products, in the order of their accumulators.
        terms: the products that add to these accumulators.
        loads: values that are read from memory, and where they lie.
        body: what is computed unit by unit, each value after those that it needs.
        stores: values that are written, and where to.
        totals: what is gathered over the units of each row: sums, the largest, the smallest.
        numbers: what is computed once per row when its totals are complete.
        number_stores: those of them that are written.
        reductions: vectors of weights whose gradients are summed over samples and steps, and the values to be summed.
        ahead: whether the pass needs nothing of the step before, and so runs for a block of steps at once.
    """

    width: str
    products: tuple[Node, ...]
    terms: tuple[Term, ...]
    loads: Mapping[Node, Row]
    body: tuple[Node, ...]
    stores: tuple[tuple[Node, Row], ...]
    totals: tuple[Node, ...]
    numbers: tuple[Node, ...]
    number_stores: tuple[tuple[Node, Row], ...]
    reductions: tuple[tuple[str, Node], ...]
    ahead: bool = False

    def biases(self) -> list[tuple[Node, Row]]:
        """Where the biases of the products lie."""
        named = [(n, w, w.bias) for n in self.products for w in n.weights]
        return [(n, Row(f"weights.{bias}", Kind.FIXED, w.rows, (w.rows,) * w.block)) for n, w, bias in named if bias]


@dataclass(frozen=True, eq=False)
class Plan:
    """The passes of one step, and every row they touch, numbered by its place in `rows`."""

    passes: tuple[Pass, ...]
    rows: tuple[Row, ...]

    def columns(self, tensor: str) -> tuple[str, ...]:
        """The widths of the rows side by side in a tensor."""
        # The last row of a tensor has all the others before it.
        rows = (row.whole for row in self.rows if row.tensor == tensor)
        longest = max(rows, key=lambda row: len(row.before), default=None)
        return () if longest is None else (*longest.before, longest.width)

    def after(self, ahead: Plan) -> Plan:
        """This plan with the passes of another running ahead of it."""
        first = (replace(each, ahead=True) for each in ahead.passes)
        # A row of both plans is one row: kernels know it by its place in this list.
        return Plan((*first, *self.passes), tuple(dict.fromkeys((*ahead.rows, *self.rows))))

    @property
    def crosses_units(self) -> bool:
        """Whether a value of a unit depends on those of other units otherwise than by a product."""
        return any(p.totals or p.number_stores or any(r.within for r in p.loads.values()) for p in self.passes)

    @property
    def widths(self) -> tuple[str, ...]:
        """All widths that passes go over, in the order of `widths` in the `Call` of `recurrence.h`."""
        return tuple(dict.fromkeys((*WIDTHS, *(p.width for p in self.passes))))

    @property
    def parameters(self) -> tuple[str, ...]:
        """Vectors whose gradients the passes sum up, in order."""
        return tuple(name for p in self.passes for name, _ in p.reductions)

    def __str__(self) -> str:
        # What is stored last: of it a number alone is nowhere else.
        nodes = [(*p.body, *p.products, *p.loads, *p.totals, *p.numbers, *dict(p.stores)) for p in self.passes]
        names = names_of(in_order(itertools.chain.from_iterable(nodes)))
        return "\n".join(line for k, p in enumerate(self.passes) for line in _pass_lines(k, p, names))


def _pass_lines(k: int, p: Pass, names: Mapping[Node, str]) -> list[str]:
    lines = [f"pass {k} over {p.width}{', ahead' * p.ahead}:", *(f"    {term}" for term in p.terms)]
    lines += [f"    {names[n]} = {row}" for n, row in p.loads.items()]
    lines += [f"    {names[n]} = {n.op}({', '.join(names[a] for a in n.args)})" for n in p.body]
    lines += [f"    {t.op.removeprefix('row_')} {names[t.args[0]]}" for t in p.totals]
    lines += [f"    reduce {name}" for name, _ in p.reductions]
    return lines + [f"    {row} = {names[n]}" for n, row in (*p.stores, *p.number_stores)]

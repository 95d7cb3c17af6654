"""Cuts a step into passes over the units of a row, and decides what is kept in memory between them.

A product or a row mean needs a whole row. What a step computes before it goes into one pass, the rest into the next:

    reset-before GRU       pass 0   products of h: update, reset;  stores update, reset ∘ h
                           pass 1   product of reset ∘ h;          stores the new h
    layer norm             pass 0   products, sums for the means   pass 1  sums for the variances   pass 2  gates …

Within a pass every value of a unit stays in registers. Between passes a value is loaded if it lies in memory anyway,
computed again if that is cheap, and else stored in a scratch row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from gateflow.compiler.graph import names_of
from gateflow.compiler.node import Node, Weight, in_order
from gateflow.compiler.operations import OPERATIONS

__all__ = ["WIDTHS", "Costs", "Kind", "Pass", "Plan", "Row", "Term", "plan"]

WIDTHS = ("H", "P", "I", "1")
"""What rows can be wide: units, numbers of the first part of the state where it is projected, inputs, one."""


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
    """Where a row lies: a tensor, and the widths of the rows before it in the same line of the tensor."""

    tensor: str
    kind: Kind
    width: str = "H"
    before: tuple[str, ...] = ()

    def begin(self, sizes: Mapping[str, int]) -> int:
        """The number of its first column in a line of the tensor."""
        return sum(sizes[width] for width in self.before)

    def __str__(self) -> str:
        place = f"[{len(self.before)}]" if self.tensor in ("hoisted", "saved", "delta", "operand", "scratch") else ""
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
        means: row means, of which the pass adds up the sums.
        numbers: what is computed once per row from complete means.
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
    means: tuple[Node, ...]
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
        longest = max((r for r in self.rows if r.tensor == tensor), key=lambda r: len(r.before), default=None)
        return () if longest is None else (*longest.before, longest.width)

    def after(self, ahead: Plan) -> Plan:
        """This plan with the passes of another running ahead of it."""
        first = (replace(each, ahead=True) for each in ahead.passes)
        return Plan((*first, *self.passes), tuple(dict.fromkeys((*ahead.rows, *self.rows))))

    @property
    def has_means(self) -> bool:
        """Whether some value depends on a whole row otherwise than by a product."""
        return any(p.means for p in self.passes)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Vectors whose gradients the passes sum up, in order."""
        return tuple(name for p in self.passes for name, _ in p.reductions)

    def __str__(self) -> str:
        names = names_of(
            in_order(n for p in self.passes for n in (*p.body, *p.products, *p.loads, *p.means, *p.numbers))
        )
        return "\n".join(line for k, p in enumerate(self.passes) for line in _pass_lines(k, p, names))


def plan(
    outputs: Sequence[tuple[Node, Row]],
    loadable: Mapping[Node, Row],
    costs: Costs,
    reductions: Sequence[tuple[str, Node]] = (),
) -> Plan:
    """Plans the passes that compute the outputs.

    Args:
        outputs: nodes, and the rows they go to.
        loadable: nodes that lie in memory before the step.
        costs: what the back end pays, for the choice between loading a value and computing it again.
        reductions: vectors of weights, and the node whose sum over samples and steps is their gradient.
    """
    # An output may overwrite a row that a later pass still reads: it is then stored in the last pass instead. That may
    # make another pass read it, so it is tried again until no row clashes; each round defers at least one more row.
    deferred: set[Row] = set()
    while True:
        drafts = _Drafts(outputs, loadable, costs, reductions, deferred)
        clashes = drafts.overwritten() - deferred
        if not clashes:
            return drafts.finished()
        deferred |= clashes


@dataclass
class _Draft:
    """A pass in the making."""

    level: int
    width: str
    products: list[Node] = field(default_factory=list)
    loads: dict[Node, Row] = field(default_factory=dict)
    body: list[Node] = field(default_factory=list)
    stores: list[tuple[Node, Row]] = field(default_factory=list)
    means: list[Node] = field(default_factory=list)
    numbers: list[Node] = field(default_factory=list)
    number_stores: list[tuple[Node, Row]] = field(default_factory=list)
    reductions: list[tuple[str, Node]] = field(default_factory=list)

    def finished(self, place: Callable[[Node], Row]) -> Pass:
        """The pass, with its products in the order of their accumulators."""
        terms, products = _terms(self.products, place)
        return Pass(
            self.width,
            tuple(products),
            tuple(terms),
            self.loads,
            tuple(self.body),
            tuple(self.stores),
            tuple(self.means),
            tuple(self.numbers),
            tuple(self.number_stores),
            tuple(self.reductions),
        )


class _Drafts:
    """Passes in the making. Demands are met from the last pass to the first, each adding demands to earlier ones."""

    def __init__(
        self,
        outputs: Sequence[tuple[Node, Row]],
        loadable: Mapping[Node, Row],
        costs: Costs,
        reductions: Sequence[tuple[str, Node]],
        deferred: set[Row],
    ):
        self.loadable, self.placed, self.levels, self.costs = loadable, dict[Node, Row](), dict[Node, int](), costs
        self.drafts: dict[tuple[int, str], _Draft] = {}
        self.scratch: dict[str, tuple[str, ...]] = {"scratch": (), "number": ()}
        nodes = in_order([n for n, _ in outputs] + [n for _, n in reductions])
        for node in nodes:
            self.levels[node] = self._level(node)
        last = max(self.levels.values(), default=0)
        for node, row in outputs:
            self._add_store(node, row, last if row in deferred else None)
        for node in nodes:
            if node.op == "product" and node not in loadable:
                for operand in node.args:
                    self._place(operand)
        for name, node in reductions:
            self._at(self.levels[node], "H").reductions.append((name, node))
        self._meet_demands()

    def _level(self, node: Node) -> int:
        """The pass that computes a node, counted from 0."""
        if node in self.loadable or not node.args:
            return 0
        highest = max(self.levels[a] for a in node.args)
        waits = node.op == "row_mean" or (node.op == "product" and any(a not in self.loadable for a in node.args))
        return highest + waits

    def _at(self, level: int, width: str) -> _Draft:
        return self.drafts.setdefault((level, width), _Draft(level, width))

    def _add_store(self, node: Node, row: Row, level: int | None = None) -> None:
        if row.width == "1":
            self._at(self.levels[node] - 1, "H").number_stores.append((node, row))
        else:
            self._at(self.levels[node] if level is None else level, row.width).stores.append((node, row))
        if node.width == row.width and (row.kind is not Kind.SAMPLE or row.tensor in self.scratch):
            self.placed.setdefault(node, row)

    def _place(self, node: Node) -> Row:
        """A row in memory for a node, new if it has none."""
        row = self.loadable.get(node) or self.placed.get(node)
        if row is None:
            tensor = "number" if node.width == "1" else "scratch"
            row = Row(tensor, Kind.SAMPLE, node.width, self.scratch[tensor])
            self.scratch[tensor] += (node.width,)
            self._add_store(node, row)
        return row

    def _meet_demands(self) -> None:
        done: set[tuple[int, str]] = set()
        while todo := [key for key in self.drafts if key not in done]:
            key = max(todo)
            done.add(key)
            self._fill(self.drafts[key])

    def _fill(self, draft: _Draft) -> None:
        for node, _ in draft.number_stores:
            self._number(node, draft)
        for node in [n for n, _ in draft.stores] + [n for _, n in draft.reductions] + [m.args[0] for m in draft.means]:
            self._demand(node, draft)

    def _number(self, node: Node, draft: _Draft) -> None:
        """A number per row, computed when the row of `draft` is complete."""
        if node in draft.numbers or node.op == "constant":
            return
        if node in self.loadable or 0 < self.levels[node] <= draft.level:
            draft.loads[node] = self._place(node)
        elif node.op == "row_mean":
            if node not in draft.means:
                draft.means.append(node)
        else:
            for argument in node.args:
                self._number(argument, draft)
            draft.numbers.append(node)

    def _demand(self, node: Node, draft: _Draft) -> None:
        """Makes a node available in a pass: loaded, or computed there from what it depends on."""
        if node.op == "constant" or node in draft.loads or node in draft.body or node in draft.products:
            return
        if node in self.loadable or (node.width == "1" and self.levels[node]) or self._kept_from_before(node, draft):
            draft.loads[node] = self._place(node)
        elif node.op == "product":
            draft.products.append(node)
        else:
            for argument in node.args:
                self._demand(argument, draft)
            draft.body.append(node)

    def _kept_from_before(self, node: Node, draft: _Draft) -> bool:
        before = self.levels[node] < draft.level
        return before and (node in self.placed or self._work(node) > self.costs.load)

    def _work(self, node: Node) -> float:
        """How many operations compute a node again from what lies in memory."""
        if node in self.loadable or node in self.placed or not node.args:
            return 0
        # A mean and a number per row are there only when their row is complete, in an earlier pass.
        if node.op not in OPERATIONS or node.width == "1":
            return math.inf
        work = OPERATIONS[node.op].work
        for argument in node.args:
            work += self._work(argument) if work <= self.costs.load else 0  # more than enough already
        return work

    def overwritten(self) -> set[Row]:
        """Rows of `SAMPLE` kind that are stored in an earlier pass than one that still loads their old content."""
        return {
            row
            for draft in self.drafts.values()
            for _, row in draft.stores
            if any(row in other.loads.values() and other.level > draft.level for other in self.drafts.values())
            and row in self.loadable.values()
        }

    def finished(self) -> Plan:
        passes = tuple(self.drafts[key].finished(self._place) for key in sorted(self.drafts))
        rows: dict[Row, None] = {}
        for each in passes:
            rows |= dict.fromkeys([*each.loads.values(), *(r for _, r in (*each.stores, *each.number_stores))])
            rows |= dict.fromkeys([*(t.operand for t in each.terms), *(r for _, r in each.biases())])
        return Plan(passes, tuple(rows))


def _terms(products: Sequence[Node], place: Callable[[Node], Row]) -> tuple[list[Term], list[Node]]:
    """Products of the same operands share terms. Returns the terms, and the products in the order of accumulators."""
    groups: dict[tuple[Row, ...], list[tuple[Node, list[Weight]]]] = {}
    for node in sorted(products, key=lambda n: [(w.name, w.block) for w in n.weights]):
        pairs = sorted(((place(a), w) for a, w in zip(node.args, node.weights, strict=True)), key=_address)
        groups.setdefault(tuple(row for row, _ in pairs), []).append((node, [w for _, w in pairs]))
    terms, ordered = list[Term](), list[Node]()
    for operands, members in groups.items():
        for start, stop in _adjacent(operands):
            blocks = tuple(tuple(weights[k] for _, weights in members) for k in range(start, stop))
            widths = tuple(row.width for row in operands[start:stop])
            terms.append(Term(operands[start], widths, len(ordered), blocks))
        ordered += [node for node, _ in members]
    return terms, ordered


def _address(pair: tuple[Row, Weight]) -> tuple[str, int]:
    return pair[0].tensor, len(pair[0].before)


def _adjacent(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that lie side by side in one tensor."""
    start = 0
    for k in range(1, len(rows) + 1):
        left = rows[k - 1]
        if k == len(rows) or (rows[k].tensor, rows[k].before) != (left.tensor, (*left.before, left.width)):
            yield start, k
            start = k


def _pass_lines(k: int, p: Pass, names: Mapping[Node, str]) -> list[str]:
    lines = [f"pass {k} over {p.width}{', ahead' * p.ahead}:", *(f"    {term}" for term in p.terms)]
    lines += [f"    {names[n]} = {row}" for n, row in p.loads.items()]
    lines += [f"    {names[n]} = {n.op}({', '.join(names[a] for a in n.args)})" for n in p.body]
    lines += [f"    sum {names[m.args[0]]}" for m in p.means] + [f"    reduce {name}" for name, _ in p.reductions]
    return lines + [f"    {row} = {names[n]}" for n, row in (*p.stores, *p.number_stores)]

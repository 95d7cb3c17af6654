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
from dataclasses import dataclass, field

from gateflow.compiler.node import Node, Weight, in_order
from gateflow.compiler.operations import OPERATIONS
from gateflow.compiler.plan import Costs, Kind, Pass, Plan, Row, Term

__all__ = ["plan"]


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
                # A product reads whole rows from memory, never registers.
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
        # A product of rows that lie in memory needs no pass before its own.
        waits = node.op == "row_mean" or (node.op == "product" and any(a not in self.loadable for a in node.args))
        return highest + waits

    def _at(self, level: int, width: str) -> _Draft:
        return self.drafts.setdefault((level, width), _Draft(level, width))

    def _add_store(self, node: Node, row: Row, level: int | None = None) -> None:
        if row.width == "1":
            # A number is complete when the pass that adds up its mean ends, one level before it can be loaded.
            self._at(self.levels[node] - 1, "H").number_stores.append((node, row))
        else:
            self._at(self.levels[node] if level is None else level, row.width).stores.append((node, row))
        # A number that is stored as a row does not lie there as a number (random cell 1063). Rows that are carried to
        # the next step may be stored last, see `plan`, so nothing in this step reads them there.
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
            # The last pass first: what it demands of earlier ones is there when their turn comes.
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
        # Constants are literals in the text of a kernel.
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
        # Reading what another pass stores anyway costs a load alone.
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
    # By weight and block, the order of deltas: gates that are adjacent in memory share one term.
    for node in sorted(products, key=lambda n: [(w.name, w.block) for w in n.weights]):
        # By place too, so that adjacent operands are one longer row, and their products one.
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

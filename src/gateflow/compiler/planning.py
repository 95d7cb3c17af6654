"""Cuts a step into passes over the units of a row, and decides what is kept in memory between them.

A product or a total of a row (a sum, a maximum) needs a whole row, and so does a slice. What a step computes before it
goes into one pass, the rest into the next:

    reset-before GRU       pass 0   products of h: update, reset;  stores update, reset ∘ h
                           pass 1   product of reset ∘ h;          stores the new h
    layer norm             pass 0   products, sums for the means   pass 1  sums for the variances   pass 2  gates …
    cat of two rows        pass 0   each stores its part of the row   pass 1   whatever reads it

Within a pass every value of a unit stays in registers. Between passes a value is loaded if it lies in memory anyway,
computed again if that is cheap, and else stored in a scratch row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from gateflow.compiler.node import REDUCTIONS, Node, Weight, in_order
from gateflow.compiler.operations import OPERATIONS
from gateflow.compiler.plan import Costs, Kind, Pass, Plan, Row, Term

__all__ = ["plan"]

_IN_MEMORY = ("slice", "cat")
"""What is read as a row, or a part of one, that lies in memory: no register has units of other places."""
_LITERALS = ("constant", "index", "epsilon")
"""What stands in the text of a kernel."""


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
    # An output may overwrite a row that is still read: it is then stored in the last pass instead. That may make
    # another pass read it, so it is tried again until no row clashes. Where even the last pass reads other units of the
    # row than it writes, the output is kept in a scratch row and copied when all passes are over.
    deferred: dict[Row, _Deferral] = {}
    while True:
        drafts = _Drafts(outputs, loadable, costs, reductions, deferred)
        clashes = drafts.overwritten()
        if not clashes:
            return drafts.finished()
        deferred |= {row: _Deferral.COPIED if row in deferred else clash for row, clash in clashes.items()}


class _Deferral(Enum):
    """How an output waits until nobody reads what it overwrites."""

    LAST = "in the last pass"
    COPIED = "after the last pass, from a scratch row"


class _Use(NamedTuple):
    """Of a row by a pass."""

    level: int
    width: str
    part: bool


@dataclass
class _Draft:
    """A pass in the making."""

    level: int
    width: str
    products: list[Node] = field(default_factory=list)
    loads: dict[Node, Row] = field(default_factory=dict)
    body: list[Node] = field(default_factory=list)
    stores: list[tuple[Node, Row]] = field(default_factory=list)
    totals: list[Node] = field(default_factory=list)
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
            tuple(self.totals),
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
        deferred: Mapping[Row, _Deferral],
    ):
        self.loadable, self.placed, self.levels, self.costs = loadable, dict[Node, Row](), dict[Node, int](), costs
        self.homes = dict[Node, tuple[int, str] | None]()
        self.drafts: dict[tuple[int, str], _Draft] = {}
        self.scratch: dict[str, tuple[str, ...]] = {"scratch": (), "number": ()}
        nodes = in_order([n for n, _ in outputs] + [n for _, n in reductions])
        for node in nodes:
            self.homes[node] = self._home(node)
            self.levels[node] = self._level(node)
        last = max(self.levels.values(), default=0)
        for node, row in outputs:
            match deferred.get(row.whole):
                case None:
                    self._add_store(node, row)
                case _Deferral.LAST:
                    self._add_store(node, row, last)
                case _Deferral.COPIED:
                    self._add_copy(node, row, last + 1)
        for node in nodes:
            if node.op == "product" and node not in loadable:
                # A product reads whole rows from memory, never registers.
                for operand in node.args:
                    self._place(operand)
        for name, node in reductions:
            self._at(self.levels[node], node.width).reductions.append((name, node))
        self._meet_demands()

    def _level(self, node: Node) -> int:
        """The first pass that can use a node, counted from 0: the one that computes it, if it is unit by unit."""
        if node in self.loadable or not node.args:
            return 0
        home = self.homes[node]
        if home is not None:
            return home[0] + 1
        # What needs whole rows waits until they lie in memory; slices and what was put together are there already.
        whole = node.op in ("product", "slice")
        levels = [self.levels[a] + (whole and a not in self.loadable and a.op not in _IN_MEMORY) for a in node.args]
        return max(levels) + (node.op == "cat")

    def _home(self, node: Node) -> tuple[int, str] | None:
        """The pass at whose end a number per row is computed, if it waits for a total; else it is computed anywhere."""
        if node in self.loadable or node.width != "1" or not node.args or node.op == "slice":
            return None
        if node.op in REDUCTIONS:
            return self.levels[node.args[0]], node.args[0].width
        homes = {home for a in node.args if (home := self.homes[a]) is not None}
        # Numbers of two passes, or of a later one, are loaded where they are needed, and combined there.
        if len(homes) != 1 or any(self.homes[a] is None and self.levels[a] > max(homes)[0] for a in node.args):
            return None
        return homes.pop()

    def _at(self, level: int, width: str) -> _Draft:
        return self.drafts.setdefault((level, width), _Draft(level, width))

    def _add_store(self, node: Node, row: Row, level: int | None = None) -> None:
        if node.op == "cat" and node not in self.loadable:
            for part, place in _parts(node, row):
                self._add_store(part, place, level)
        elif row.width == "1":
            # A number is complete when the pass ends that gathers its total, one level before it can be loaded.
            at = self.homes[node] or (self.levels[node], "H")
            self._at(*(at if level is None else (level, "H"))).number_stores.append((node, row))
        else:
            self._at(self.levels[node] if level is None else level, row.width).stores.append((node, row))
        # A number that is stored as a row does not lie there as a number (random cell 1063). Rows that are carried to
        # the next step may be stored last, see `plan`, so nothing in this step reads them there. A slice
        # lies in its row.
        if (
            node.op != "slice"
            and node.width == row.width
            and (row.kind is not Kind.SAMPLE or row.tensor in self.scratch)
        ):
            self.placed.setdefault(node, row)

    def _add_copy(self, node: Node, row: Row, level: int) -> None:
        """Stores a node in a scratch row, and where it belongs in a later pass, which reads no other row."""
        if node.op == "cat" and node not in self.loadable:
            for part, place in _parts(node, row):
                self._add_copy(part, place, level)
            return
        if node.op not in _LITERALS:
            kept = self._scratch_row(node)
            self._add_store(node, kept)
            self._at(level, "H" if row.width == "1" else row.width).loads[node] = kept
        self._add_store(node, row, level)

    def _scratch_row(self, node: Node) -> Row:
        tensor = "number" if node.width == "1" else "scratch"
        row = Row(tensor, Kind.SAMPLE, node.width, self.scratch[tensor])
        self.scratch[tensor] += (node.width,)
        return row

    def _place(self, node: Node) -> Row:
        """A row in memory for a node, new if it has none."""
        row = self.loadable.get(node) or self.placed.get(node)
        if row is None and node.op == "slice":
            return self._place(node.args[0]).part(node.width, int(node.values[0]))
        if row is None:
            row = self._scratch_row(node)
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
        for node in [n for n, _ in draft.stores] + [n for _, n in draft.reductions] + [t.args[0] for t in draft.totals]:
            self._demand(node, draft)

    def _number(self, node: Node, draft: _Draft) -> None:
        """A number per row, computed when the row of `draft` is complete."""
        if node in draft.numbers or node.op in _LITERALS or node in draft.loads:
            return
        lies = node in self.loadable or node.op == "slice" or self.homes[node] not in (None, (draft.level, draft.width))
        if lies or self._kept_from_before(node, draft):
            draft.loads[node] = self._place(node)
        elif node.op in REDUCTIONS:
            if node not in draft.totals:
                draft.totals.append(node)
        else:
            for argument in node.args:
                self._number(argument, draft)
            draft.numbers.append(node)

    def _demand(self, node: Node, draft: _Draft) -> None:
        """Makes a node available in a pass: loaded, or computed there from what it depends on."""
        if node.op in _LITERALS or node in draft.loads or node in draft.body or node in draft.products:
            return
        lies = node in self.loadable or node.op in _IN_MEMORY or self.homes[node] is not None
        if lies or self._kept_from_before(node, draft):
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
        if node.op == "slice":
            return self._work(node.args[0])
        # A total, and what depends on it, is there only when its row is complete, in an earlier pass.
        if node.op not in OPERATIONS or self.homes[node] is not None:
            return math.inf
        work = OPERATIONS[node.op].work
        for argument in node.args:
            work += self._work(argument) if work <= self.costs.load else 0  # more than enough already
        return work

    def overwritten(self) -> dict[Row, _Deferral]:
        """Rows that an output overwrites while they are still read, and how long it should wait."""
        stored, loaded = dict[Row, list[_Use]](), dict[Row, list[_Use]]()
        for draft in self.drafts.values():
            writes = [row for _, row in (*draft.stores, *draft.number_stores)]
            for uses, rows in ((stored, writes), (loaded, draft.loads.values())):
                for row in rows:
                    uses.setdefault(row.whole, []).append(_Use(draft.level, draft.width, bool(row.within)))
        clashes = dict[Row, _Deferral]()
        for row in {each.whole for each in self.loadable.values()} & stored.keys():
            for read, written in itertools.product(loaded.get(row, ()), stored[row]):
                # One pass may read and write a row unit by unit, and nothing else.
                apart = read.part or written.part or read.width != written.width
                if read.level > written.level or (apart and read.level == written.level):
                    clashes[row] = _Deferral.COPIED if apart else clashes.get(row, _Deferral.LAST)
        return clashes

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
        for start, stop in _adjacent(operands, [w.columns for w in members[0][1]]):
            blocks = tuple(tuple(weights[k] for _, weights in members) for k in range(start, stop))
            widths = tuple(row.width for row in operands[start:stop])
            terms.append(Term(operands[start], widths, len(ordered), blocks))
        ordered += [node for node, _ in members]
    return terms, ordered


def _address(pair: tuple[Row, Weight]) -> tuple[str, int]:
    return pair[0].tensor, len(pair[0].before)


def _adjacent(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that lie side by side in one tensor, and meet weights with as many columns."""
    start = 0
    for k in range(1, len(rows) + 1):
        left = rows[k - 1]
        # The weights of a term have one stride (`Form._add_matrices`).
        if (
            k == len(rows)
            or columns[k] != columns[k - 1]
            or left.within
            or rows[k] != replace(rows[k], tensor=left.tensor, before=(*left.before, left.width), within="", offset=0)
        ):
            yield start, k
            start = k


def _parts(node: Node, row: Row) -> Iterator[tuple[Node, Row]]:
    """The parts of a row that is put together, and where each lies in it."""
    offset = 0
    for part, length in zip(node.args, node.values, strict=True):
        # A number that stands for a row of several is stored as a row.
        width = part.width if part.width != "1" or length == 1 else str(int(length))
        yield part, row.part(width, offset)
        offset += int(length)

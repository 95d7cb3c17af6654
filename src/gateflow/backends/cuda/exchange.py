"""What blocks tell each other in a loop: which rows go over the tape, since a product reads them as a whole.

    pass 1   scratch[0] = r ∘ h           written at this step and read at this step
    pass 2   … += weight_hh[2] @ scratch[0]
             state.h = …                  written at this step and read at the next one: carried

All other rows are read unit by unit, by the thread that wrote them (`native/recurrence.cuh`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

from gateflow.compiler.plan import Kind, Pass, Plan, Row, Term

__all__ = ["Exchange", "Written"]


class Written(IntEnum):
    """For which step of a loop a row is put on the tape."""

    NOWHERE = 0
    THIS = 1
    NEXT = 2


@dataclass(frozen=True, eq=False)
class Exchange:
    """The rows of a plan that cross blocks.

    Attributes:
        plan: a loop.
    """

    plan: Plan

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """Those that run at each step; what runs ahead is torch's."""
        return tuple(each for each in self.plan.passes if not each.ahead)

    @cached_property
    def stored(self) -> dict[Row, int]:
        """The rows that the loop writes, and the last pass that does."""
        return {row: k for k, each in enumerate(self.passes) for _, row in (*each.stores, *each.number_stores)}

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The rows on the tape, side by side as in memory: what a product reads of several is one piece of it."""
        read = {_now(row) for each in self.passes for term in each.terms for row in operands(term)}
        return tuple(sorted(read & self.stored.keys(), key=lambda row: (row.tensor, len(row.before))))

    def written(self, row: Row) -> Written:
        """For which step a row is put on the tape where it is stored."""
        if row not in self.rows or row.kind is Kind.PREVIOUS:
            return Written.NOWHERE
        return Written.NEXT if self._is_carried(row) else Written.THIS

    def place(self, row: Row) -> int | None:
        """Which of `rows` a row is; none if it is not there."""
        return self.rows.index(_now(row)) if _now(row) in self.rows else None

    def carried(self, row: Row) -> bool:
        """Whether a row is put on the tape before the first step: what it starts from."""
        return _now(row) in self.rows and (row.kind is not Kind.STEP) and self._is_carried(_now(row))

    def _is_carried(self, row: Row) -> bool:
        """Whether products read what the step before has written."""
        readers = [k for k, each in enumerate(self.passes) for term in each.terms if row in map(_now, operands(term))]
        previous = any(
            now.kind is Kind.PREVIOUS and _now(now) == row
            for each in self.passes
            for term in each.terms
            for now in operands(term)
        )
        return previous or min(readers) <= self.stored[row]

    def later(self, k: int, term: Term) -> int:
        """1 where a product reads what this very step has put on the tape for the next one."""
        row = term.operand
        return int(row.kind is Kind.STEP and self.written(row) is Written.NEXT and self.stored[row] < k)

    @cached_property
    def reads_lines(self) -> bool:
        """Whether a product reads what no step of this loop writes, such as the input."""
        return any(_now(term.operand) not in self.rows for each in self.passes for term in each.terms)

    @cached_property
    def obstacle(self) -> str | None:
        """Why this loop cannot run in blocks that own units, in words; none where it can."""
        for row in self._read():
            changed = [
                other for other in self.stored if other.whole == _now(row).whole and (row.within or other.within)
            ]
            if changed:
                return "its step reads parts of rows that it makes, which kernels for GPUs cannot yet"
        if any(r.width == "1" or (r.kind is Kind.SAMPLE and r.tensor != "scratch" and r.within) for r in self.rows):
            return "its step multiplies a number for a row by a weight, which kernels for GPUs cannot yet"
        carried = [r for p in self.passes for _, r in p.number_stores if r.kind is Kind.SAMPLE and r.tensor != "number"]
        if carried:
            return "it carries a number for a row from step to step, which kernels for GPUs cannot yet"
        mixed = [t for p in self.passes for t in p.terms if len({_now(r) in self.rows for r in operands(t)}) > 1]
        return "a product of its step reads rows of two kinds, which kernels for GPUs cannot yet" if mixed else None

    def _read(self) -> Iterator[Row]:
        for each in self.passes:
            yield from each.loads.values()
            for term in each.terms:
                yield from operands(term)


def operands(term: Term) -> Iterable[Row]:
    """The rows that a term reads: one, or several that lie side by side."""
    row = term.operand
    for width in term.columns:
        row = replace(row, width=width)
        yield row
        row = replace(row, before=(*row.before, width))


def _now(row: Row) -> Row:
    """A state as it is written: what is the previous one at the next step."""
    return replace(row, kind=Kind.STEP) if row.kind is Kind.PREVIOUS else row

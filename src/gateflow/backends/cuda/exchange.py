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
from typing import NamedTuple

from gateflow.compiler.plan import Kind, Pass, Plan, Row, Term

__all__ = ["Exchange", "Wait", "Written"]


class Written(IntEnum):
    """For which step of a loop a row is put on the tape."""

    NOWHERE = 0
    THIS = 1
    NEXT = 2


class Held(IntEnum):
    """Where in its registers a thread has what it reads: `Ready` in `native/rows.cuh`."""

    NOWHERE = 0
    NOW = 1
    NEXT = 2
    FIXED = 3
    WRITTEN = 4  # in this step
    WRITTEN_BEFORE = 5  # in the step before


class Wait(NamedTuple):
    """Where a step waits for other blocks: before the equations of a pass, or after them for its totals."""

    number: int
    is_late: bool = False


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

    @cached_property
    def numbers(self) -> tuple[Row, ...]:
        """What is one number for each sample, and made by a step: a block has its own in its shared memory."""
        return tuple(dict.fromkeys(row for each in self.passes for _, row in each.number_stores))

    def number(self, row: Row) -> int:
        """Which of `numbers` a row is; -1 if it is none."""
        return self.numbers.index(row) if row in self.numbers else -1

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

    def asks(self, wait: Wait) -> dict[Row, int]:
        """What of the rows that this loop only reads is asked for before a wait.

        Returns:
            Rows; 1 for those of this step, which equations behind the wait read first, 2 for those of the next step,
            whose equations read them before any wait.
        """
        found = dict[Row, int]()
        for row, readers in self._read_only.items() if wait in self.waits else ():
            before = self._wait_before(readers[0])
            if wait == (before or self.waits[-1]):
                found[row] = 2 if before is None else 1
        return found

    def reads(self, number: int) -> dict[Row, Held]:
        """What of the rows that a pass reads is in registers, and where.

        Args:
            number: the pass.
        """
        found = dict[Row, Held]()
        for row in self.passes[number].loads.values():
            if row.kind is Kind.FIXED:
                found[row] = Held.FIXED
            elif row in self._read_only and self.waits:
                is_behind = self._wait_before(self._read_only[row][0]) is not None
                # From the last wait on there is that of the next step already; numbers are worked out behind totals.
                if is_behind or Wait(number, is_late=row.width == "1") < self.waits[-1]:
                    found[row] = Held.NOW if is_behind else Held.NEXT
            elif self._written_by(row) is not None:
                earlier = self._written_by(row) in self._written_before(number)
                if not earlier or row.kind is not Kind.PREVIOUS:
                    found[row] = Held.WRITTEN if earlier else Held.WRITTEN_BEFORE
        return found

    def keeper(self, row: Row) -> Row:
        """The row whose value as a thread wrote it last is that of a row which it reads."""
        return self._written_by(row) or row

    @cached_property
    def waits(self) -> tuple[Wait, ...]:
        """Where a step waits for other blocks, in order."""
        early = [Wait(k) for k, each in enumerate(self.passes) if each.terms]
        late = [Wait(k, is_late=True) for k, each in enumerate(self.passes) if each.totals]
        return tuple(sorted(early + late))

    def _wait_before(self, number: int) -> Wait | None:
        """The last wait of a step before the equations of a pass."""
        return max((wait for wait in self.waits if wait <= Wait(number)), default=None)

    @cached_property
    def _read_only(self) -> dict[Row, list[int]]:
        """Rows of steps that are there before the loop, and the passes that read them."""
        found, kinds = dict[Row, list[int]](), (Kind.STEP, Kind.AHEAD, Kind.PREVIOUS)
        written = {row.whole for row in self.stored}
        for k, each in enumerate(self.passes):
            for row in each.loads.values():
                if row.kind in kinds and _now(row).whole not in written:
                    found.setdefault(row, []).append(k)
        return found

    def _written_by(self, row: Row) -> Row | None:
        """The row that a thread has written as it reads it; none if parts of it are written, or what a block has."""
        now = _now(row)
        parts = [r for r in (*self.stored, *self._loaded) if r.within and r.whole == now.whole]
        return now if now in self.stored and now not in self.numbers and not parts else None

    def _written_before(self, number: int) -> set[Row]:
        return {row for each in self.passes[:number] for _, row in each.stores}

    @cached_property
    def _loaded(self) -> set[Row]:
        return {_now(row) for each in self.passes for row in each.loads.values()}

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

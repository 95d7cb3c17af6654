"""Counts of pairs of names, which a task adds to the report of its run: a confusion matrix, for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ContingencyTable"]


@dataclass(frozen=True)
class ContingencyTable:
    """How often each row came together with each column; the page of a report draws it as shares of each row.

    It is measured by a task and not by an instrument: ``dataclasses.replace(report, tables=(table,))`` adds it.

    Args:
        title: heading of its section on the page; tables that follow each other and have one title share the section.
        reading: how to read it, for somebody who has never seen one.
        sides: what a row is and what a column is, such as ``("right", "given")``.
        rows, columns: their names.
        counts: a row of counts for each row.
        name: tells it from others of its section.

    Example:
        >>> names, counts = ["bad", "good"], [[9, 1], [0, 10]]
        >>> table = ContingencyTable("Confusions", "Right by given.", ("right", "given"), names, names, counts)
        >>> table.to_dict()["counts"]
        [[9, 1], [0, 10]]
    """

    title: str
    reading: str
    sides: tuple[str, str]
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    name: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As numbers and lists, for JSON."""
        return asdict(self)

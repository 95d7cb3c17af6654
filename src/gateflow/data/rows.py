"""Rows of a file with columns: TSV, CSV with a header, or JSON lines, told apart by their first line."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, dropwhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gateflow.data.source import spoken
from gateflow.data.text import LONGEST_LINE, read_lines
from gateflow.errors import DataError

__all__ = ["Row", "Rows", "is_blank", "is_number", "numbered", "read_rows", "rows_of"]

_QUOTED = re.compile(r'"((?:[^"]++|"")*)"(?=,|$)')
_PLAIN = re.compile(r'[^,"]*+(?=,|$)')


class Row(NamedTuple):
    """A row, and the line of the file that it begins in, from 1; cells by place, or by name if it is JSON."""

    line: int
    cells: Any


@dataclass(frozen=True)
class Rows:
    """The rows of a file.

    Attributes:
        path: for messages.
        kind: what it is.
        names: of the columns of CSV, and of the fields of the first JSON object; a TSV may have none.
        rows: all of them, but for a line with names; read as they are taken.
        width: number of columns; 0 for JSON.
    """

    path: str
    kind: Literal["tsv", "csv", "json"]
    names: tuple[str, ...]
    rows: Iterator[Row]
    width: int = 0

    def column(self, name: str, option: str) -> int | str:
        """Where a column is: its place from 0, or the field of an object.

        Args:
            name: its name; or its number from 1, from the end if it is negative.
            option: who asks, for the message.

        Raises:
            DataError: there is none.
        """
        if name in self.names:
            return name if self.kind == "json" else self.names.index(name)
        if is_number(name) and self.kind != "json" and 1 <= abs(int(name)) <= self.width:
            return int(name) - 1 if int(name) > 0 else self.width + int(name)
        found = f"it has {', '.join(self.names)}" if self.names else f"it has {self.width} columns without names"
        raise DataError(f"{self.path} has no column {name!r:.80}, which {option} asks for; {found:.300}.")


def is_number(text: str) -> bool:
    """Whether a column is asked for by its number.

    Example:
        >>> is_number("-1"), is_number("text")
        (True, False)
    """
    return text.removeprefix("-").isdecimal() and len(text) < 10


# What there should be where a line has one column, unless somebody else asks.
LABELLED = "a text and its label: TSV, CSV with a header, JSON lines, or lines that begin with __label__"


def read_rows(path: str | Path, named: bool | None = None, marks: Sequence[str] = (), wanted: str = LABELLED) -> Rows:
    r"""The rows of a file. A line that begins with ``{`` is JSON, one with a tab is TSV, one with a comma is CSV.

    TSV has no quotes: a tab ends a cell, a line a row. CSV is that of RFC 4180: its first line has the names; a cell
    between double quotes may hold commas, line ends, and quotes that are doubled. Blank lines are left out.

    Args:
        path: as for `gateflow.data.text.read_lines`.
        named: whether a TSV begins with the names of its columns; if none, it does if one of its first cells, in small
            letters, is in `marks`.
        marks: what names look like.
        wanted: what there should be where a line has one column, for the message.

    Raises:
        DataError: as `read_lines`; the first line is none of the three, or a later one has other columns than the
            first, quotes without an end, or no JSON object. The message names the line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "films.csv"
        >>> _ = file.write_text('text,label\n"a ""good"", long film",pos\n')
        >>> rows = read_rows(file)
        >>> rows.names, next(rows.rows)
        (('text', 'label'), Row(line=2, cells=['a "good", long film', 'pos']))
    """
    return rows_of(spoken(Path(path)), numbered(read_lines(path)), named, marks, wanted)


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines from the first on that is not blank, with their numbers from 1."""
    return dropwhile(lambda entry: is_blank(entry[1]), enumerate(lines, 1))


def is_blank(line: str) -> bool:
    """Whether a line holds nothing but white space."""
    return not line or line.isspace()


def rows_of(
    where: str,
    lines: Iterator[tuple[int, str]],
    named: bool | None = None,
    marks: Sequence[str] = (),
    wanted: str = LABELLED,
) -> Rows:
    """The rows of lines with their numbers; see `read_rows`."""
    number, first = next(lines)
    lines = chain([(number, first)], lines)
    if first.lstrip().startswith("{"):
        rows = _objects(where, lines)
        row = next(rows)
        return Rows(where, "json", tuple(row.cells), chain([row], rows))
    if "\t" in first:
        rows = _tabbed(where, lines)
        row = next(rows)
        cells = [cell.strip() for cell in row.cells]
        names = named if named is not None else any(cell.lower() in marks for cell in cells)
        return Rows(where, "tsv", tuple(cells) if names else (), rows if names else chain([row], rows), len(cells))
    if "," in first:
        rows = _quoted(where, lines)
        cells = [cell.strip() for cell in next(rows).cells]
        return Rows(where, "csv", tuple(cells), rows, len(cells))
    raise DataError(f"{where}, line {number}: {reprlib.repr(first)} has one column; there should be {wanted}.")


def _tabbed(path: str, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    return _even(path, ((n, line.split("\t")) for n, line in lines if not is_blank(line)), "tabs")


def _quoted(path: str, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    return _even(path, ((n, _cells(path, n, line, lines)) for n, line in lines if not is_blank(line)), "commas")


def _even(path: str, rows: Iterable[tuple[int, list[str]]], what: str) -> Iterator[Row]:
    """The rows, as long as each has as many cells as the first."""
    width, begun = 0, 0
    for number, cells in rows:
        width, begun = width or len(cells), begun or number
        if len(cells) != width:
            raise DataError(_misfit(path, number, cells, width, begun, what))
        yield Row(number, cells)


def _cells(path: str, number: int, line: str, lines: Iterator[tuple[int, str]]) -> list[str]:
    """The cells of a row that begins with `line`; further lines are taken as long as quotes are open."""
    cells, at = list[str](), 0
    while at <= len(line):
        quoted = line.startswith('"', at)
        if quoted and line.count('"', at) % 2:
            line = _with_end_of_quotes(line, lines)
        match = (_QUOTED if quoted else _PLAIN).match(line, at)
        if match is None:
            raise DataError(
                f"{path}, line {number}: {reprlib.repr(line[at:])} has a double quote that does not end, or stands "
                'amid a cell. Put the cell between double quotes, and double those inside, as in "a ""good"" film".'
            )
        cells.append(match[1].replace('""', '"') if quoted else match[0])
        at = match.end() + 1
    return cells


def _with_end_of_quotes(line: str, lines: Iterator[tuple[int, str]]) -> str:
    """The line and those after it, up to the one in which the quotes end; what is left, if they never do."""
    held, length = [line], len(line)
    for _, more in lines:
        held.append(more)
        length += len(more)
        # A quote that was meant for inches may swallow the rest of the file.
        if more.count('"') % 2 or length > LONGEST_LINE:
            break
    return "\n".join(held)


def _objects(path: str, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    for number, line in lines:
        if is_blank(line):
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: no JSON ({error!s:.100}). Give each text one line with one object."
            ) from None
        if not isinstance(found, dict):
            raise DataError(f"{path}, line {number}: {reprlib.repr(line)} is no JSON object, as the first line is.")
        yield Row(number, found)


def _misfit(path: str, number: int, cells: Sequence[str], width: int, begun: int, what: str) -> str:
    columns = f"{len(cells)} column{'s' * (len(cells) != 1)}"
    return (
        f"{path}, line {number}: {columns}, where line {begun} has {width} separated by {what}; found "
        f"{reprlib.repr(' | '.join(cells))}. Give each row all columns, and no {what} within a cell."
    )

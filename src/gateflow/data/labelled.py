"""Texts that have a label each, or several: TSV, CSV with a header, JSON lines, and fastText's ``__label__``."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from gateflow.data.rows import Row, Rows, is_blank, is_number, numbered, rows_of
from gateflow.data.source import spoken
from gateflow.data.text import half_character, read_lines
from gateflow.data.words import composed
from gateflow.errors import DataError, among

__all__ = ["TEXTS", "Label", "LabelledText", "Truth", "is_of_a_table", "read_labelled"]

Label = str | int | float
"""A label as the file has it: JSON tells numbers from texts; a fraction only where numbers are asked for."""

_FASTTEXT = "__label__"
_LABEL = re.compile(rf"\s*{_FASTTEXT}(\S++)(?=\s|$)")
# By these names a column is found, and a first line of a TSV is known to hold names.
_LABELS, TEXTS = ("label", "labels"), ("text", "sentence", "document")
# Rows that are looked at to find out which of two columns has the labels.
_LOOKED_AT = 1000


class Truth(str):
    """A label that came as a truth value, spelled as JSON spells it.

    Example:
        >>> Truth.of(True), type(Truth.of(False)) is Truth
        ('true', True)
    """

    __slots__ = ()

    @classmethod
    def of(cls, value: bool) -> Truth:
        """The spelling of a value."""
        return cls("true" if value else "false")


@dataclass(frozen=True)
class LabelledText:
    """A text out of a file.

    Attributes:
        text: may be empty.
        labels: one; or as many as there are, where a text may have several; none where they were not asked for.
        line: where it begins in the file, from 1.
        group: what it belongs to, such as its author; None where that is not asked for.
    """

    text: str
    labels: tuple[Label, ...]
    line: int
    group: str | None = field(default=None, repr=False)

    @property
    def place(self) -> str:
        """Where it stands, as messages say it."""
        return f"line {self.line}"

    @property
    def key(self) -> str:
        """Equal for equal texts, in whichever form of Unicode they are written."""
        return composed(self.text)


def read_labelled(
    path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    separator: str | None = None,
    labelled: bool = True,
    known: Collection[str] = (),
    group: str | None = None,
    numbers: bool = False,
) -> Iterator[LabelledText]:
    r"""Yield the texts of a file with their labels.

    The file is fastText's if its first line begins with ``__label__``, else TSV, CSV or JSON lines (see
    `gateflow.data.rows.read_rows`). A TSV begins with the names of its columns if a column is asked for by name, or
    if one of its first cells is ``label`` or ``labels``.

    Args:
        path: A UTF-8 file, plain or gzip, a named pipe, or ``-``.
        text, label: The columns, by name, or by number from 1 (from the end: ``-1``). Default: those called ``text``
            (``sentence``, ``document``) and ``label`` (``labels``); of two columns the other one; of two without
            names the labels are in the one with fewer different cells among the first 1,000 rows.
        separator: What stands between the labels of a text, which may then have several or none. JSON lists and
            fastText's labels need no such mark, but this to be allowed. Default: each text has one label.
        labelled: Whether labels are wanted; else texts are read alone.
        known: Labels that another file has. Of two columns without names that with more of them has the labels: so two
            files of one kind are read alike.
        group: The column of what texts belong to, such as their author, by name or number.
        numbers: Whether the labels are numbers to be predicted, which may be fractions.

    Raises:
        DataError: As :func:`gateflow.data.text.read_lines`; or a column is asked for that is not there, cannot be found
            by looking, or has other contents; or a text has no label, or several. The message names the line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "films.tsv"
        >>> _ = file.write_text("1\tterribly exciting\n0\tterrible\n1\tI slept well\n")
        >>> next(read_labelled(file))
        LabelledText(text='terribly exciting', labels=('1',), line=1)
    """
    where, lines = spoken(Path(path)), numbered(read_lines(path))
    first = next(lines)
    lines = chain([first], lines)
    if first[1].lstrip().startswith(_FASTTEXT):
        if group is not None:
            raise DataError(f"{where} is fastText's, which has no columns, and --group {group} asks for one.")
        filled = (entry for entry in lines if not is_blank(entry[1]))
        return (_of_fasttext(where, number, line, separator, labelled) for number, line in filled)
    asked = [name for name in (text, label, group) if name is not None]
    rows = rows_of(where, lines, True if any(not is_number(name) for name in asked) else None, _LABELS)
    return _of_rows(rows, _Asked(text, label, separator, labelled, known, group, numbers))


def is_of_a_table(line: str, labels: Collection[str] = ()) -> bool:
    r"""Whether a line looks like the first of a file that `read_labelled` reads, and not like a text.

    Args:
        line: the first of a file.
        labels: those that are known: a cell that is one of them is a label.

    Example:
        >>> [is_of_a_table(line) for line in ('{"text": "a film"}', "text,label", "a good, long text")]
        [True, True, False]
        >>> is_of_a_table("pos\ta film", labels=["pos", "neg"])
        True
    """
    if line.lstrip().startswith(_FASTTEXT):
        return True
    if line.lstrip().startswith("{"):
        with suppress(ValueError, RecursionError):
            return isinstance(json.loads(line), dict)
    tabs = [cell.strip() for cell in line.split("\t")]
    names = {cell.strip(' "').lower() for cell in (tabs if len(tabs) > 1 else line.split(","))}
    header = bool(names & set(TEXTS)) and len(names) > 1
    return header or (len(tabs) > 1 and not set(tabs).isdisjoint(labels))


class _Asked(NamedTuple):
    """What the caller wants: see `read_labelled`."""

    text: str | None
    label: str | None
    separator: str | None
    labelled: bool
    known: Collection[str]
    group: str | None
    numbers: bool


def _of_fasttext(where: str, number: int, line: str, separator: str | None, labelled: bool) -> LabelledText:
    labels, at = list[str](), 0
    while match := _LABEL.match(line, at):
        labels.append(match[1])
        at = match.end()
    if labelled:
        _refuse_other_count(f"{where}, line {number}", labels, separator, f"no {_FASTTEXT} at its beginning")
    return LabelledText(line[at:].strip(), tuple(dict.fromkeys(labels)) if labelled else (), number)


def _of_rows(rows: Rows, asked: _Asked) -> Iterator[LabelledText]:
    held = list(islice(rows.rows, _LOOKED_AT))
    if not held:
        raise DataError(f"{rows.path} has the names of its columns and no rows. Give a file with texts in it.")
    of_text, of_label = _columns(rows, held, asked)
    of_group = None if asked.group is None else rows.column(asked.group, "--group")
    for row in chain(held, rows.rows):
        where = f"{rows.path}, line {row.line}"
        found = _cell(row, of_text, where)
        if not isinstance(found, str):
            raise DataError(f"{where}: the text is {reprlib.repr(found)}, and no text. Put it between double quotes.")
        _refuse_half_characters(found, where)
        labels: tuple[Label, ...] = ()
        if of_label is not None:
            labels = _labels(_cell(row, of_label, where), asked.separator, where, asked.numbers)
            _refuse_other_count(where, labels, asked.separator, f"no label in column {_spoken(of_label)}")
        group = None if of_group is None else str(_cell(row, of_group, where)).strip()
        yield LabelledText(found, labels, row.line, group)


def _refuse_half_characters(text: str, where: str) -> None:
    """Refuse half of a character, which JSON can spell and no file can hold."""
    if (place := half_character(text)) is not None:
        raise DataError(
            f"{where}: character {place + 1} of the text is \\u{ord(text[place]):x}, half of a character. "
            "Write the file anew from its source."
        )


def _columns(rows: Rows, held: Sequence[Row], asked: _Asked) -> tuple[int | str, int | str | None]:
    """Where the texts and the labels are."""
    text, label = asked.text or _called(rows, TEXTS), asked.label or _called(rows, _LABELS)
    of_text = None if text is None else rows.column(text, "--text")
    of_label = None if label is None or not asked.labelled else rows.column(label, "--label")
    both = list(rows.names) if rows.kind == "json" else list(range(rows.width))
    if asked.labelled and len(both) == 2:
        if of_text is None and of_label is None:
            of_label = _with_labels(both, held, asked)
        of_text = _other(both, of_label) if of_text is None else of_text
        of_label = _other(both, of_text) if of_label is None else of_label
    if of_text is None or (asked.labelled and of_label is None):
        has = f"the columns {', '.join(rows.names)}" if rows.names else f"{rows.width} columns without names"
        wanted = [option for option, found in (("--text", of_text), ("--label", of_label)) if found is None]
        raise DataError(
            f"{rows.path} has {has:.300}, and which holds what cannot be seen: say it with {' and '.join(wanted)}"
            f"{', or --input series if they are numbers' if rows.names else ''}."
        )
    if of_text == of_label:
        raise DataError(f"{rows.path}: {_spoken(of_text)} is asked for as --text and as --label. Choose two columns.")
    return of_text, of_label


def _with_labels(both: Sequence[int | str], held: Sequence[Row], asked: _Asked) -> int | str | None:
    """Of two columns the one with more known labels, else with fewer different cells; none if they are alike."""
    columns = [[str(_cell(row, k, f"line {row.line}")).strip() for row in held] for k in both]
    # The known ones first: of a few texts hardly two need have the same label.
    first, second = ((-_known(cells, asked), len(set(cells))) for cells in columns)
    return None if first == second else both[int(second < first)]


def _known(cells: Sequence[str], asked: _Asked) -> int:
    """How many known labels a column has."""
    # Where a text has one label, a cell is taken as it is.
    whole = asked.separator is None
    parts = (part.strip() for cell in cells for part in ([cell] if whole else cell.split(asked.separator)))
    return sum(part in asked.known for part in parts)


def _called(rows: Rows, names: Sequence[str]) -> str | None:
    """The one column that has one of these names, in whatever letters."""
    found = [name for name in rows.names if name.lower() in names]
    return found[0] if len(found) == 1 else None


def _other(both: Sequence[int | str], one: int | str | None) -> int | str | None:
    return None if one is None else next((k for k in both if k != one), None)


def _cell(row: Row, column: int | str, where: str) -> Any:
    if isinstance(row.cells, dict) and column not in row.cells:
        raise DataError(f"{where}: there is no field {column!r}; {among(str(column), row.cells, what='it has'):.240}.")
    return row.cells[column]


def _labels(found: Any, separator: str | None, where: str, numbers: bool) -> tuple[Label, ...]:
    """The labels that a cell holds, each once."""
    if isinstance(found, list):
        return tuple(dict.fromkeys(label for part in found for label in _labels(part, None, where, numbers)))
    if found is None:
        return ()
    if isinstance(found, bool):
        return (Truth.of(found),)
    if isinstance(found, int) or (numbers and isinstance(found, float)):
        return (found,)
    if not isinstance(found, str):
        raise DataError(
            f"{where}: the label is {reprlib.repr(found)}; a label is a name or a whole number. If numbers are to be "
            "predicted, say so with --regression."
        )
    _refuse_half_characters(found, where)
    parts = [found] if separator is None else found.split(separator)
    return tuple(dict.fromkeys(filter(None, map(str.strip, parts))))


def _refuse_other_count(where: str, labels: Sequence[Label], separator: str | None, none: str) -> None:
    """Refuse a text with no label, or with several, where each has one."""
    if separator is None and len(labels) != 1:
        has = none if not labels else f"{len(labels)} labels, {', '.join(map(str, labels)):.80}"
        remedy = "Give it one" if not labels else "Give it one, or let texts have several with --multi-label"
        raise DataError(f"{where}: the text has {has}. {remedy}.")


def _spoken(column: int | str) -> str:
    return repr(column) if isinstance(column, str) else str(column + 1)

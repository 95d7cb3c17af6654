"""Parallel text: a source and its translations, out of one table or out of two files that go line by line."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from gateflow.data.rows import Row, Rows, is_blank, is_number, read_rows
from gateflow.data.source import spoken
from gateflow.data.text import half_character, read_lines
from gateflow.errors import DataError, among

__all__ = ["ParallelText", "read_files", "read_sources", "read_table", "two_files"]

# By these names columns are found, and a first line of a TSV is known to hold names.
SOURCES, TARGETS = ("source", "src"), ("target", "tgt", "translation")
WANTED = "a source and its target: TSV, CSV with a header or JSON lines; or name the file of the targets as well"


@dataclass(frozen=True)
class ParallelText:
    """A source and what it becomes.

    Attributes:
        source: what is read.
        targets: what is right; several where there are more right ones than one, none where they were not asked for.
        features: what else is told of the source, such as how a word is to be inflected.
        line: where it begins in the file, from 1.
    """

    source: str
    targets: tuple[str, ...]
    features: str = ""
    line: int = 0

    def to_json(self) -> str:
        """As a line that `read_table` reads again."""
        found = {"source": self.source, "target": list(self.targets), "features": self.features}
        return json.dumps(found, ensure_ascii=False)


def two_files(path: Path, other: Path | None) -> tuple[Path, Path | None]:
    """The file of sources and that of targets, where two are named with a comma between them.

    Example:
        >>> [file.name for file in two_files(Path("train.ja,train.en"), None)]
        ['train.ja', 'train.en']
        >>> two_files(Path("train.tsv"), None)[1] is None
        True
    """
    first, comma, second = str(path).partition(",")
    # A file may have a comma in its name.
    if other is not None or not comma or not (first and second) or path.exists():
        return path, other
    return Path(first), Path(second)


def read_table(
    path: str | Path, *, source: str | None = None, target: str | None = None, features: str | None = None
) -> Iterator[ParallelText]:
    r"""Yield the pairs of a TSV, of CSV with a header, or of JSON lines; see `gateflow.data.rows.read_rows`.

    Args:
        path: A UTF-8 file, plain or gzip, a named pipe, or ``-``.
        source, target: The columns, by name, or by number from 1 (from the end: ``-1``). Default: those called
            ``source`` and ``target``, else the first and the second. Several columns of targets, separated by commas,
            are several right ones; so is a JSON list.
        features: The column with what else is told of a source; none if left out.

    Raises:
        DataError: the file is no such table, lacks a column, or has a source without a target; the message says where.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "train.tsv"
        >>> _ = file.write_text("산\ts a n\n")
        >>> next(read_table(file))
        ParallelText(source='산', targets=('s a n',), features='', line=1)
    """
    asked = [name for name in (source, *(target or "").split(","), features) if name]
    by_name = any(not is_number(name) for name in asked)
    rows = read_rows(path, named=True if by_name else None, marks=(*SOURCES, *TARGETS), wanted=WANTED)
    columns = _columns(rows, source, target)
    of_features = None if features is None else rows.column(features, "--features")
    return _refused_if_empty(_of_rows(rows, *columns, of_features), rows.path)


def read_files(path: str | Path, targets: Sequence[str | Path]) -> Iterator[ParallelText]:
    """Yield the pairs of a file of sources and one or more of targets; line `n` of one belongs to line `n` of another.

    Raises:
        DataError: a file cannot be read, one has more lines than another, or a line is blank in one alone; the message
            says which line.
    """
    files = [spoken(Path(file)) for file in (path, *targets)]
    if spoken(Path("-")) in files[1:] or len({*files}) < len(files):
        raise DataError(f"{' and '.join(files)}: give as many different files as there are sides.")
    lines = zip_longest(read_lines(path), *(read_lines(file) for file in targets))
    return _refused_if_empty(_of_lines(files, lines), files[0])


def read_sources(lines: Sequence[str], first: int, has_features: bool) -> list[ParallelText]:
    """What is to be translated: a source a line; behind a tab its features, if the run has learnt some."""
    parts = [line.partition("\t") if has_features else (line, "", "") for line in lines]
    return [ParallelText(source, (), features, first + i) for i, (source, _, features) in enumerate(parts)]


def _of_lines(files: Sequence[str], lines: Iterator[tuple[str | None, ...]]) -> Iterator[ParallelText]:
    for number, row in enumerate(lines, 1):
        if None in row:
            _refuse_other_count(files, number, row)
        found = [line or "" for line in row]
        blank = [file for file, line in zip(files, found, strict=True) if is_blank(line)]
        if blank and len(blank) < len(files):
            raise DataError(
                f"{blank[0]}, line {number}: blank, where {_told(files, found)}. Remove the line from all files, or "
                "give it its other side."
            )
        # A blank line in all files separates paragraphs.
        if not blank:
            yield ParallelText(found[0], tuple(found[1:]), line=number)


def _refuse_other_count(files: Sequence[str], number: int, row: Sequence[str | None]) -> None:
    short = next(file for file, line in zip(files, row, strict=True) if line is None)
    raise DataError(
        f"{short} ends after line {number - 1:,}, where {_told(files, row)}: line n of one file is the translation of "
        "line n of the other. Give both as many lines."
    )


def _told(files: Sequence[str], row: Sequence[str | None]) -> str:
    file, line = next((file, line) for file, line in zip(files, row, strict=True) if line and not is_blank(line))
    return f"{file} has {reprlib.repr(line)}"


def _columns(rows: Rows, source: str | None, target: str | None) -> tuple[int | str, list[int | str]]:
    """Where the sources and the targets are."""
    names = [name.lower() for name in rows.names]
    found = [
        next((rows.names[names.index(name)] for name in known if name in names), None) for known in (SOURCES, TARGETS)
    ]
    if rows.kind == "json" and None in (source or found[0], target or found[1]):
        has = ", ".join(rows.names)
        raise DataError(f"{rows.path} has the fields {has:.300}; say which are read with --source and --target.")
    of_source = rows.column(source or found[0] or "1", "--source")
    of_targets = [rows.column(name, "--target") for name in (target or found[1] or "2").split(",")]
    if len({of_source, *of_targets}) <= len(of_targets):
        raise DataError(f"{rows.path}: a column is asked for twice as --source and --target. Choose different ones.")
    return of_source, of_targets


def _of_rows(
    rows: Rows, source: int | str, targets: Sequence[int | str], features: int | str | None
) -> Iterator[ParallelText]:
    for row in rows.rows:
        where = f"{rows.path}, line {row.line}"
        (text,) = _texts(row, source, where, "source")
        # Of several columns some may be blank: not every source has as many translations.
        right = [found for k in targets for found in _texts(row, k, where, "target") if not is_blank(found)]
        for side, missing in (("source", is_blank(text)), ("target", not right)):
            if missing:
                raise DataError(f"{where}: the {side} is empty. Remove the row, or give it its {side}.")
        told = " ".join(_texts(row, features, where, "features")) if features is not None else ""
        yield ParallelText(text, tuple(dict.fromkeys(right)), told, row.line)


def _texts(row: Row, column: int | str, where: str, side: str) -> list[str]:
    if isinstance(row.cells, dict) and column not in row.cells:
        raise DataError(f"{where}: there is no field {column!r}; {among(str(column), row.cells, what='it has'):.240}.")
    found: Any = row.cells[column]
    texts: list[Any] = found if isinstance(found, list) and side != "source" else [found]
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"{where}: the {side} is {reprlib.repr(text)}, and no text. Put it between double quotes.")
        if (place := half_character(text)) is not None:
            raise DataError(
                f"{where}: character {place + 1} of the {side} is half of a character. Write the file anew from its "
                "source."
            )
    return texts


def _refused_if_empty(pairs: Iterator[ParallelText], path: str) -> Iterator[ParallelText]:
    first = next(pairs, None)
    if first is None:
        raise DataError(f"{path} holds no pairs. Give a file with sources and their targets.")
    yield first
    yield from pairs

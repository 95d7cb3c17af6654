"""Sentence pairs that differ in one point of grammar: the test of agreement for language models."""

from __future__ import annotations

import csv
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateflow.data.agreement import BUCKETS, Sentence
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["Pair", "pairs_of", "read_pairs"]


class Pair(NamedTuple):
    """A grammatical sentence, the same one with its mistake, and the group that it is counted in."""

    construct: str
    grammatical: str
    ungrammatical: str


def pairs_of(sentences: Iterable[Sentence]) -> Iterator[Pair]:
    """Pairs of the agreement grammar, in groups by the distance from subject to verb.

    Example:
        >>> from random import Random
        >>> from gateflow.data.agreement import draw
        >>> next(pairs_of([draw(Random(0), distance=12)])).construct
        'distance 11 to 20'
    """
    for s in sentences:
        bucket = BUCKETS[s.bucket]
        yield Pair(f"distance {bucket[0]} to {bucket[-1]}", s.grammatical, s.ungrammatical)


def read_pairs(path: str | Path) -> Iterator[Pair]:
    r"""Read pairs from a TSV file, plain or gzip, whose first line names its columns.

    The columns ``grammatical`` and ``ungrammatical`` are needed; ``construct`` groups the pairs; others are left alone.
    This is the layout of Marvin and Linzen's test set (2018) and of :func:`gateflow.data.agreement.write_pairs`.

    Raises:
        DataError: the file is no text, a needed column is missing, or a line lacks one of its sentences.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pairs.tsv"
        >>> _ = file.write_text("grammatical\tungrammatical\nthe cat sleeps\tthe cat sleep\n", encoding="utf-8")
        >>> list(read_pairs(file))
        [Pair(construct='all', grammatical='the cat sleeps', ungrammatical='the cat sleep')]
    """
    # No quoting: a sentence may hold a quotation mark, which would open a field over many lines.
    rows = csv.DictReader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = {"grammatical", "ungrammatical"} - set(_names(rows, path))
    if missing:
        raise DataError(
            f"{path}: the first line must name the columns `grammatical` and `ungrammatical`, separated by tabs; "
            f"found {reprlib.repr(_names(rows, path))}"
        )
    for row in _whole(rows, path):
        if not row["grammatical"] or not row["ungrammatical"]:
            raise DataError(
                f"{path}, line {rows.line_num}: a pair needs two sentences, found {reprlib.repr(list(row.values()))}"
            )
        yield Pair(row.get("construct") or "all", row["grammatical"], row["ungrammatical"])


def _names(rows: csv.DictReader[str], path: str | Path) -> list[str]:
    try:
        return list(rows.fieldnames or ())
    # The csv module's own bound on a field, 131,072 characters.
    except csv.Error as error:
        raise DataError(f"{path}, line 1: {error}; a sentence is shorter.") from None


def _whole(rows: csv.DictReader[str], path: str | Path) -> Iterator[dict[str, Any]]:
    try:
        yield from rows
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num + 1}: {error}; a sentence is shorter.") from None

"""CoNLL-U: which of its lines are words, and where the text has a space between them.

The format: https://universaldependencies.org/format.html; with other columns, CoNLL-U Plus:
https://universaldependencies.org/ext-format.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from gateflow.errors import DataError

__all__ = ["NAMES", "Words", "is_row", "is_start_of_document", "names_in", "words_of"]

NAMES = tuple("id form lemma upos xpos feats head deprel deps misc".split())
"""The ten columns, by the names of the format in small letters."""

# A word, a token of several words, a node that stands for no word.
_ID = re.compile(r"(\d+)(?:-(\d+)|\.\d+)?", re.ASCII)
_PLUS = re.compile(r"#\s*global\.columns\s*=(.*)")
_NEW_DOCUMENT = re.compile(r"#\s*newdoc\b")


def is_row(line: str) -> bool:
    r"""Whether a line can only be one of CoNLL-U: ten columns, the first of which is an ID.

    Example:
        >>> is_row("1\tTeddy\tTeddy\tPROPN\tNNP\t_\t0\troot\t_\t_"), is_row("Teddy\tB-person")
        (True, False)
    """
    fields = line.split("\t")
    return len(fields) == len(NAMES) and _ID.fullmatch(fields[0]) is not None


def names_in(line: str) -> tuple[str, ...] | None:
    """The names of the columns, if the line is the one that gives them in CoNLL-U Plus.

    Example:
        >>> names_in("# global.columns = ID FORM UPOS PARSEME:MWE")
        ('id', 'form', 'upos', 'parseme:mwe')
    """
    found = _PLUS.fullmatch(line)
    return tuple(found[1].lower().split()) if found else None


def is_start_of_document(comment: str) -> bool:
    """Whether a comment says that a document begins.

    Example:
        >>> is_start_of_document("# newdoc id = letters-7"), is_start_of_document("# newpar")
        (True, False)
    """
    return _NEW_DOCUMENT.match(comment) is not None


class Words(NamedTuple):
    """The lines of a sentence that are words: their numbers, their columns, and whether a space comes after each."""

    lines: list[int]
    rows: list[list[str]]
    spaces: tuple[bool, ...] | None


def words_of(rows: Iterable[tuple[int, list[str]]], *, id: int, misc: int | None, path: str) -> Words:
    r"""The words among numbered lines of one sentence. Tokens of several words (``1-2``) and empty nodes (``1.1``) are
    left out; no space comes between the words of such a token, and after the last one it is as after the token.

    Args:
        rows: number of the line and its columns.
        id: which column is the ID.
        misc: which column may say ``SpaceAfter=No``; none if nothing is known of spaces.
        path: for messages.

    Raises:
        DataError: an ID is none, IDs do not rise, or no line is a word.

    Example:
        >>> lines = "1-2\tdon't\tSpaceAfter=No", "1\tdo\t_", "2\tn't\t_", "3\t!\t_"
        >>> words_of(enumerate(line.split("\t") for line in lines), id=0, misc=2, path="file").spaces
        (False, False, True)
    """
    words, spaces = Words([], [], None), list[bool]()
    last, token, token_space = 0, 0, True
    line = 0
    for line, row in rows:
        space = misc is None or "SpaceAfter=No" not in row[misc].split("|")
        if not row[id].isdecimal():
            if end := _end_of_token(row[id], path, line):
                token, token_space = end, space
            continue
        number = int(row[id])
        # An ID that falls is the beginning of a sentence whose blank line is missing.
        if number <= last:
            raise DataError(
                f"{path}, line {line}: word {number} comes after word {last}. "
                "Put a blank line between sentences, and number the words of each from 1."
            )
        last = number
        words.lines.append(line)
        words.rows.append(row)
        spaces.append(space if number > token else number == token and token_space)
    if not words.rows:
        raise DataError(f"{path}, line {line}: a sentence without words. Take it out.")
    return words if misc is None else words._replace(spaces=tuple(spaces))


def _end_of_token(id: str, path: str, line: int) -> int:
    """The last word of a token of several words; 0 for an empty node."""
    found = _ID.fullmatch(id)
    if found is None:
        raise DataError(
            f"{path}, line {line}: {id!r:.40} is no ID of a word. Its first column must be 1, 2, 3 …; "
            "1-2 for a token of two words, 1.1 for an empty node."
        )
    return int(found[2] or 0)

"""Spans of words as tags of the words: the schemes IOB1, IOB2 and BIOES, and what is made of wrong sequences.

A tag is a letter and a type, such as ``B-creative-work``; ``O`` stands outside of all spans. In IOB2 each span begins
with B and goes on with I. In IOB1 it is all I; B only tells it from a span of the same type right before it. BIOES also
marks its last word, E, and a span of a single word, S.

Ramshaw and Marcus 1995, "Text Chunking using Transformation-Based Learning" (IOB1); Sang and Veenstra 1999,
"Representing Text Chunks" (IOB2 and others); Ratinov and Roth 2009, "Design Challenges and Misconceptions in Named
Entity Recognition" (BIOES, there BILOU).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from gateflow.errors import DataError

__all__ = ["SCHEMES", "Span", "converted", "encoded", "find_scheme", "labels_of", "mended", "spans", "transitions"]

SCHEMES = {"IOB1": "IOB", "IOB2": "IOB", "BIOES": "BIOES"}
"""The letters of each scheme."""

# A hyphen with nothing behind it is no type: such a tag is plain.
_TAG = re.compile(r"([BIESLUMW])(?:-(.+))?", re.DOTALL)
# Last and Unit of BILOU, Middle, End and Word of BMEWO.
_LETTERS = {"L": "E", "U": "S", "M": "I", "W": "S"}


class Span(NamedTuple):
    """The words ``begin`` to ``end - 1`` of a sentence are of one type; it is empty if tags have none, as plain B."""

    type: str
    begin: int
    end: int


def find_scheme(tags: Iterable[Sequence[str]]) -> str | None:
    """The scheme that the tags of some sentences are of: ``IOB1``, ``IOB2`` or ``BIOES``; None if they are plain tags.

    They are of a scheme if each is ``O`` or a letter that may have a type, and not all are ``O``; one that is neither,
    among ``O`` and letters with types, is taken for a mistake and refused. Of BIOES are those
    with any of its letters E and S, or of BILOU's L and U, or of BMEWO's M and W. Else it is decided by what the other
    scheme does not allow: a B where nothing of its type stands before it is none of IOB1's, an I in such a place none
    of IOB2's; the scheme with fewer mistakes is taken, IOB2 if they are equal.

    Args:
        tags: of each sentence.

    Raises:
        DataError: A tag is of no scheme, where others are.

    Example:
        >>> find_scheme([["B-person", "I-person", "O"], ["O", "B-group"]])
        'IOB2'
        >>> find_scheme([["I-NP", "I-NP", "B-NP"]]), find_scheme([["B-x", "L-x"]]), find_scheme([["DET", "NOUN"]])
        ('IOB1', 'BIOES', None)
    """
    letters, starts, typed, odd = set[str](), Counter[str](), False, None
    for number, sentence in enumerate(tags, 1):
        previous = ("O", "")
        for k, tag in enumerate(sentence, 1):
            found = _parsed(tag)
            if found is None:
                odd = odd or (number, k, tag)
                previous = ("O", "")
                continue
            letters.add(tag[0])
            typed = typed or bool(found[1])
            # Where neither scheme takes it for a continuation, its letter tells one from the other.
            if found[0] in "BI" and (previous[0] == "O" or previous[1] != found[1]):
                starts[found[0]] += 1
            previous = found
    if odd is None:
        return _scheme_by(letters, starts, typed)
    # Else one zero for an O would make plain tags of all spans, and accuracy of F1.
    if typed and "O" in letters and letters & {"B", "I"}:
        raise DataError(
            f"Word {odd[1]} of sentence {odd[0]} has the tag {odd[2]!r:.60}, where others are O, B-TYPE, I-TYPE … "
            "Correct the tag."
        )
    return None


def _scheme_by(letters: set[str], starts: Counter[str], typed: bool) -> str | None:
    # Without B, I and types, letters may stand for anything: M and W for men and women, S and O for subject and object.
    if not letters & {"B", "I"} and not typed:
        return None
    if letters - set("BIO"):
        return "BIOES"
    return "IOB1" if starts["I"] > starts["B"] else "IOB2"


def mended(tags: Sequence[str], scheme: str | None) -> tuple[list[str], int]:
    """The tags as the scheme wants them, and how many had to be changed for that.

    What is meant by a wrong sequence is decided by the rule of the shared tasks' script ``conlleval``: I begins a span
    where none of its type goes before it. In BIOES likewise: I and E begin a span where no B or I of their type goes
    before, and a span ends before whatever does not go on with it. Letters of BILOU and BMEWO become those of BIOES,
    which is no change. Plain tags stay as they are.

    Args:
        tags: of one sentence.
        scheme: as `find_scheme` gives it.

    Raises:
        DataError: A tag is none of the scheme.

    Example:
        >>> mended(["O", "I-person", "I-person"], "IOB2")
        (['O', 'B-person', 'I-person'], 1)
        >>> mended(["B-person", "I-person", "O", "U-person"], "BIOES")
        (['B-person', 'E-person', 'O', 'S-person'], 1)
    """
    if scheme is None:
        return list(tags), 0
    parsed = _parsed_all(tags, scheme)
    right = encoded(_spans(parsed), len(tags), scheme)
    return right, sum(_written(*tag) != new for tag, new in zip(parsed, right, strict=True))


def spans(tags: Sequence[str], scheme: str) -> list[Span]:
    """The spans of a sentence, in order; wrong sequences are read as `mended` does.

    Args:
        tags: of one sentence.
        scheme: as `find_scheme` gives it.

    Raises:
        DataError: A tag is none of the scheme.

    Example:
        >>> spans(["B-person", "I-person", "O", "B-creative-work"], "IOB2")
        [Span(type='person', begin=0, end=2), Span(type='creative-work', begin=3, end=4)]
    """
    return _spans(_parsed_all(tags, scheme))


def encoded(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """The tags of a sentence of so many words.

    Args:
        spans: in order, none within another.
        length: number of words.
        scheme: ``IOB1``, ``IOB2`` or ``BIOES``.

    Raises:
        DataError: Spans overlap, are empty, or go beyond the sentence.

    Example:
        >>> encoded([Span("person", 0, 2), Span("person", 2, 3)], 4, "BIOES")
        ['B-person', 'E-person', 'S-person', 'O']
        >>> encoded([Span("person", 0, 2), Span("person", 2, 3)], 4, "IOB1")
        ['I-person', 'I-person', 'B-person', 'O']
    """
    _require(scheme)
    tags, before = ["O"] * length, Span("", -1, 0)
    for span in spans:
        if not before.end <= span.begin < span.end <= length:
            raise DataError(
                f"The span {tuple(span)} does not fit into a sentence of {length} words whose last span ends at "
                f"{before.end}. Give spans in order, of one word or more, and none that overlap."
            )
        inside = span.end - span.begin - 1
        touching = before.end == span.begin and before.type == span.type and before.begin >= 0
        letters = _letters(inside, touching, scheme)
        tags[span.begin : span.end] = [_written(letter, span.type) for letter in letters]
        before = span
    return tags


def _letters(inside: int, touching: bool, scheme: str) -> str:
    """Of a span with `inside` words after its first."""
    if scheme == "BIOES":
        return "B" + "I" * (inside - 1) + "E" if inside else "S"
    return ("B" if scheme == "IOB2" or touching else "I") + "I" * inside


def converted(tags: Sequence[str], old: str, new: str) -> list[str]:
    """The same spans in another scheme; wrong sequences are mended on the way.

    Raises:
        DataError: A tag is none of the old scheme.

    Example:
        >>> converted(["I-person", "I-person", "O"], "IOB1", "BIOES")
        ['B-person', 'E-person', 'O']
    """
    return encoded(spans(tags, old), len(tags), new)


def labels_of(types: Iterable[str], scheme: str) -> list[str]:
    """All tags there are for some types, ``O`` first.

    Example:
        >>> labels_of(["person"], "BIOES")
        ['O', 'B-person', 'I-person', 'E-person', 'S-person']
    """
    _require(scheme)
    letters = [letter for letter in SCHEMES[scheme] if letter != "O"]
    return ["O", *(_written(letter, type) for type in types for letter in letters)]


def transitions(labels: Sequence[str], scheme: str | None) -> tuple[list[bool], list[list[bool]], list[bool]]:
    """What the scheme allows: a sequence is allowed where `mended` would change nothing.

    Args:
        labels: K different tags.
        scheme: as `find_scheme` gives it; of plain tags everything is allowed.

    Returns:
        Whether a sentence may begin with each label [K], whether label j may follow label i, at ``[i][j]`` [K, K], and
        whether it may end with each label [K].

    Raises:
        DataError: A label is no tag of the scheme.

    Example:
        >>> begin, inner, end = transitions(["O", "B-person", "I-person"], "IOB2")
        >>> begin, inner[0], end
        ([True, True, False], [True, True, False], [True, True, True])
    """
    if scheme is None:
        return [True] * len(labels), [[True] * len(labels) for _ in labels], [True] * len(labels)
    tags = _parsed_all(labels, scheme)
    # What stands before and after a sentence allows what O does.
    begin = [_may_follow(("O", ""), tag, scheme) for tag in tags]
    inner = [[_may_follow(before, tag, scheme) for tag in tags] for before in tags]
    return begin, inner, [_may_follow(tag, ("O", ""), scheme) for tag in tags]


def _may_follow(before: tuple[str, str], tag: tuple[str, str], scheme: str) -> bool:
    in_span, same_type = before[0] in "BI", before[1] == tag[1]
    if scheme == "IOB2":
        return tag[0] != "I" or (in_span and same_type)
    if scheme == "IOB1":
        return tag[0] != "B" or (in_span and same_type)
    return same_type and tag[0] in "IE" if in_span else tag[0] not in "IE"


def _spans(tags: list[tuple[str, str]]) -> list[Span]:
    if not tags:
        return []
    borders = [0, *(k for k, (before, tag) in enumerate(pairwise(tags), 1) if not _continues(before, tag)), len(tags)]
    return [Span(tags[begin][1], begin, end) for begin, end in pairwise(borders) if tags[begin][0] != "O"]


def _continues(before: tuple[str, str], tag: tuple[str, str]) -> bool:
    return before[0] in "BI" and tag[0] in "IE" and before[1] == tag[1]


def _parsed_all(tags: Sequence[str], scheme: str) -> list[tuple[str, str]]:
    _require(scheme)
    parsed = list[tuple[str, str]]()
    for k, tag in enumerate(tags, 1):
        found = _parsed(tag)
        if found is None or found[0] not in SCHEMES[scheme]:
            letters = ", ".join(f"{letter}-TYPE" for letter in SCHEMES[scheme] if letter != "O")
            raise DataError(f"{tag!r:.60} (tag {k}) is no tag of {scheme}, which has O, {letters}. Correct the tag.")
        parsed.append(found)
    return parsed


# As many tags as a column may have; their sentences are read again at every evaluation.
@lru_cache(maxsize=4096)
def _parsed(tag: str) -> tuple[str, str] | None:
    """Its letter, one of BIOES, and its type; None if it is a plain tag."""
    if tag == "O":
        return "O", ""
    found = _TAG.fullmatch(tag)
    return (_LETTERS.get(found[1], found[1]), found[2] or "") if found else None


def _written(letter: str, type: str) -> str:
    return f"{letter}-{type}" if type else letter


def _require(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise DataError(f"The scheme {scheme!r:.40} is not known. Give one of {', '.join(SCHEMES)}.")

"""How far texts are from those that are right: character and word error rates, by jiwer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any

from gateflow.errors import ConfigError

__all__ = ["Errors", "character_errors", "characters_taken", "word_errors"]

NOTHING = ""
"""What stands for a character where one is missing or too many."""


@dataclass(frozen=True)
class Errors:
    """What it takes to make a text right.

    Attributes:
        substitutions, deletions, insertions: how many; a deletion is of what is right and was not written.
        count: characters or words of the right text.

    Example:
        >>> errors = sum(character_errors(["the cat"], ["th hat"]), Errors())
        >>> errors.substitutions, errors.deletions, errors.insertions, round(errors.rate, 3)
        (1, 1, 0, 0.286)
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    count: int = 0

    @property
    def edits(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits for each character or word that is right; more than 1 is possible."""
        return self.edits / max(self.count, 1)

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(getattr(self, part.name) + getattr(other, part.name) for part in fields(self)))


def character_errors(right: Sequence[str], given: Sequence[str]) -> list[Errors]:
    """Of the characters of each text: code points, spaces among them.

    Args:
        right: texts as `gateflow.data.transcripts.plain` makes them.
        given: texts that were written, as they are.

    Raises:
        ConfigError: jiwer is not installed.
    """
    return _errors(right, given, list)


def word_errors(right: Sequence[str], given: Sequence[str]) -> list[Errors]:
    """Of the words of each text: what stands between spaces, its punctuation and capitals as they are.

    Raises:
        ConfigError: jiwer is not installed.

    Example:
        >>> sum(word_errors(["the cat", "a dog"], ["the hat", "a dog"]), Errors()).rate
        0.25
    """
    return _errors(right, given, str.split)


def characters_taken(right: Sequence[str], given: Sequence[str]) -> Counter[tuple[str, str]]:
    """How often each character was taken for each, itself included; "" stands where one is missing or too many.

    Raises:
        ConfigError: jiwer is not installed.

    Example:
        >>> characters_taken(["cat"], ["ht"]).most_common()
        [(('c', 'h'), 1), (('a', ''), 1), (('t', 't'), 1)]
    """
    found: Counter[tuple[str, str]] = Counter()
    for text, other, chunks in zip(right, given, _chunks(right, given, list), strict=True):
        for chunk in chunks:
            ours = text[chunk.ref_start_idx : chunk.ref_end_idx]
            theirs = other[chunk.hyp_start_idx : chunk.hyp_end_idx]
            longest = max(len(ours), len(theirs))
            # Where both are there they are as many.
            found.update(zip(_filled(ours, longest), _filled(theirs, longest), strict=True))
    return found


def _filled(text: str, size: int) -> list[str]:
    return [*text] or [NOTHING] * size


def _errors(right: Sequence[str], given: Sequence[str], cut: Callable[[str], list[str]]) -> list[Errors]:
    return [
        Errors(_count(chunks, "substitute"), _count(chunks, "delete"), _count(chunks, "insert"), len(cut(text)))
        for text, chunks in zip(right, _chunks(right, given, cut), strict=True)
    ]


def _count(chunks: Iterable[Any], kind: str) -> int:
    of_kind = (x for x in chunks if x.type == kind)
    return sum(max(x.ref_end_idx - x.ref_start_idx, x.hyp_end_idx - x.hyp_start_idx) for x in of_kind)


def _chunks(right: Sequence[str], given: Sequence[str], cut: Callable[[str], list[str]]) -> list[list[Any]]:
    """For each text the stretches that are equal, replaced, missing or too many."""
    if not right:
        return []

    # In place of jiwer's own, which would take spaces away: what is counted is what was written.
    def transform(texts: Sequence[str]) -> list[list[str]]:
        return [cut(text) for text in texts]

    return _library().process_words(list(right), list(given), transform, transform).alignments


def _library() -> ModuleType:
    try:
        import jiwer
    except ImportError:
        raise ConfigError("error rates need jiwer: pip install 'gateflow[transcription]'.") from None
    return jiwer

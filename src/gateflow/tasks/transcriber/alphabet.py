"""The characters that a transcriber can write; the file ``alphabet.json`` of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateflow.runs.documents import read_document

__all__ = ["BLANK", "Alphabet", "read_alphabet"]

BLANK = 0
"""The class of a step at which no character is written."""

_MOST_BYTES = 1 << 24


class Alphabet(BaseModel):
    """All characters, from class 1 on; class 0 is the blank.

    A character is a code point of a text in NFC: a letter and a mark that has no form of its own with it are two.

    Example:
        >>> alphabet = Alphabet.of(["ein tag", "ein n\\u00e4"])
        >>> alphabet.characters
        (' ', 'a', 'e', 'g', 'i', 'n', 't', 'ä')
        >>> alphabet.numbers("nix"), alphabet.text([6, 5]), alphabet.unknown("nix")
        ([6, 5], 'ni', ['x'])
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    characters: tuple[str, ...] = Field(min_length=1, max_length=1 << 20)

    @field_validator("characters")
    @classmethod
    def _are_different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or any(len(character) != 1 for character in value):
            raise ValueError("it names no characters, or one twice")
        if any(normalize("NFC", character) != character for character in value):
            raise ValueError("a character is not NFC")
        return value

    @classmethod
    def of(cls, texts: Iterable[str]) -> Alphabet:
        """Those of some texts, sorted."""
        return cls(characters=tuple(sorted({character for text in texts for character in text})))

    @cached_property
    def classes(self) -> dict[str, int]:
        """The class of each character."""
        return {character: number for number, character in enumerate(self.characters, 1)}

    def __len__(self) -> int:
        return len(self.characters)

    def numbers(self, text: str) -> list[int]:
        """The classes of a text's characters, without those that are unknown."""
        return [self.classes[character] for character in text if character in self.classes]

    def text(self, classes: Sequence[int]) -> str:
        """The characters of some classes."""
        return "".join(self.characters[number - 1] for number in classes)

    def unknown(self, text: str) -> list[str]:
        """The characters of a text that cannot be written."""
        return [character for character in text if character not in self.classes]


def rare(texts: Iterable[str], below: int) -> dict[str, int]:
    """The characters that occur less often, with how often, the rarest first.

    Example:
        >>> rare(["aabbc", "abd"], below=3)
        {'c': 1, 'd': 1}
    """
    counts = Counter(character for text in texts for character in text)
    return {character: n for character, n in sorted(counts.items(), key=lambda x: (x[1], x[0])) if n < below}


def read_alphabet(file: Path, remedy: str) -> Alphabet:
    """The alphabet in a file.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    return read_document(Alphabet, file, _MOST_BYTES, "holds no alphabet", remedy)

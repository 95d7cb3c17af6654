"""The words, characters and tags that a tagger knows, by number; the file ``vocabulary.json`` of its run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateflow.data.spans import labels_of, transitions
from gateflow.data.tagged import TaggedSentence
from gateflow.data.words import composed, lowered
from gateflow.runs.documents import read_document
from gateflow.tasks.tagger.batches import UNKNOWN

__all__ = ["Column", "Vocabulary", "read_vocabulary"]

# Characters of a word that are read, half from its beginning and half from its end: no word of a language is longer,
# and one that is (a URL, binary noise) would be read for as long as the rest of its batch.
MOST_CHARACTERS = 60
# Of vocabulary.json: ten million words of ten letters.
MOST_BYTES = 1 << 27

Label = Annotated[str, Field(min_length=1)]


class Column(BaseModel):
    """One column of tags: its name, how its tags mark entities (none if they do not), and all there are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    scheme: Literal["IOB1", "IOB2", "BIOES"] | None
    labels: tuple[Label, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_each_once(self) -> Column:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a tag stands in it twice")
        return self

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each tag."""
        return {label: number for number, label in enumerate(self.labels)}

    def transitions(self) -> tuple[Sequence[bool], Sequence[Sequence[bool]], Sequence[bool]] | tuple[None, None, None]:
        """What may begin, follow and end; nothing is forbidden where tags mark no entities."""
        return (None, None, None) if self.scheme is None else transitions(self.labels, self.scheme)


class _File(BaseModel):
    """What vocabulary.json holds."""

    model_config = ConfigDict(extra="forbid", strict=True)
    words: list[str]
    characters: list[Annotated[str, Field(min_length=1, max_length=1)]]
    columns: list[Column] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_as_it_was_written(self) -> _File:
        """Numbers are places in these lists: what is in another order fits the weights, and means something else."""
        names = [column.name for column in self.columns]
        for what, found in (("word", self.words), ("character", self.characters), ("column", names)):
            if len(set(found)) < len(found):
                raise ValueError(f"a {what} stands in it twice")
        for column in self.columns:
            if list(column.labels) != _as_written(column):
                whose = column.scheme or "a set-up"
                raise ValueError(f"the tags of column {column.name!r:.80} are not those of {whose} in their order")
        return self


def _as_written(column: Column) -> list[str]:
    """The tags of a column in the order in which a set-up puts them."""
    if column.scheme is None:
        return sorted(column.labels)
    types = {label.partition("-")[2] for label in column.labels if label != "O"}
    return labels_of(sorted(types), column.scheme)


@dataclass(frozen=True)
class Vocabulary:
    """Words, characters and tags by number; what is not known has the number 0.

    Words are known by their small letters, in Unicode's composed form; characters tell capitals from these.

    Attributes:
        words, characters: all that are known; the first has number 1.
        columns: the columns of tags.
    """

    words: tuple[str, ...]
    characters: tuple[str, ...]
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, sentences: Iterable[TaggedSentence], columns: Iterable[Column], min_count: int = 1) -> Vocabulary:
        """All words that occur from `min_count` times on, the most frequent first, and all characters."""
        words, characters = Counter[str](), Counter[str]()
        for sentence in sentences:
            words.update(map(lowered, sentence.words))
            characters.update(composed("".join(sentence.words)))
        frequent = tuple(word for word, count in words.most_common() if count >= min_count)
        return cls(frequent, tuple(character for character, _ in characters.most_common()), tuple(columns))

    @cached_property
    def _words(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}

    @cached_property
    def _characters(self) -> dict[str, int]:
        return {character: number for number, character in enumerate(self.characters, UNKNOWN + 1)}

    def knows(self, word: str) -> bool:
        """Whether training has seen the word, in whatever letters.

        Example:
            >>> Vocabulary(("teddy",), ("t",), ()).knows("Teddy")
            True
        """
        return lowered(word) in self._words

    def word(self, word: str) -> int:
        """The number of a word; 0 if it is not known."""
        return self._words.get(lowered(word), UNKNOWN)

    def spelling(self, word: str) -> list[int]:
        """The numbers of a word's characters, of those in its middle none if it is very long."""
        word, half = composed(word), MOST_CHARACTERS // 2
        read = word if len(word) <= MOST_CHARACTERS else word[:half] + word[-half:]
        return [self._characters.get(character, UNKNOWN) for character in read]

    def to_json(self) -> str:
        """The text of vocabulary.json."""
        columns = [column.model_dump(mode="json") for column in self.columns]
        found = {"words": self.words, "characters": self.characters, "columns": columns}
        return json.dumps(found, ensure_ascii=False, indent=0) + "\n"


def read_vocabulary(file: Path, remedy: str) -> Vocabulary:
    """The vocabulary in a file of `Vocabulary.to_json`.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    found = read_document(_File, file, MOST_BYTES, "is no vocabulary of a tagger", remedy)
    return Vocabulary(tuple(found.words), tuple(found.characters), tuple(found.columns))

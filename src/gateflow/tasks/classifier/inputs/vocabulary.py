"""How a text becomes tokens, and tokens numbers: words, characters, letters of Hangul, or BPE.

A token keeps its place in the text, so that whatever is said of it can be shown where it stands.
"""

from __future__ import annotations

import json
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from gateflow.data.tokenizer import build_tokenizer
from gateflow.data.tokenizer_file import read_tokenizer, tokenizer_text
from gateflow.data.words import Word, composed, lowered, split_words
from gateflow.errors import DataError, RunError
from gateflow.files import appears_whole
from gateflow.runs.documents import read_document
from gateflow.tasks.vectors import UNKNOWN

__all__ = ["Pieces", "Vocabulary", "Words", "read_pieces_of_bpe", "read_words"]

# Of vocabulary.json: ten million words of ten letters.
MOST_BYTES = 1 << 27
# Characters of a text that tokens are made of, for each token that is read: no language has longer words on average,
# and nothing that is a word by itself (a URL, base pairs) should be cut without need.
LONGEST_TOKEN = 1000

Form = Literal["NFC", "NFD"]
# Syllables of Hangul are characters of the composed form of Unicode, their letters those of the decomposed one.
FORMS: Mapping[str, Form] = {"char": "NFC", "jamo": "NFD"}


class Vocabulary(ABC):
    """Tokens by number; what is not known has the number 0."""

    @abstractmethod
    def __len__(self) -> int:
        """How many are known."""

    @abstractmethod
    def to_json(self) -> str:
        """The text of the file that keeps it."""

    @abstractmethod
    def cut(self, text: str, most: int) -> list[Word]:
        """The first tokens of a text, at most so many, each with its place in it."""

    @abstractmethod
    def number(self, token: str) -> int:
        """The number of a token; 0 if it is not known."""

    @abstractmethod
    def numbers(self, text: str, most: int) -> list[int]:
        """The numbers of the tokens that `cut` gives."""


class Words(Vocabulary):
    """Words, characters, or the letters that syllables of Hangul are made of.

    Words are those of `gateflow.data.words.split_words`, known by their small letters. Characters are those of
    Unicode's composed form (NFC), in which a syllable of Hangul is one; letters those of the decomposed form (NFD).

    Args:
        kind: ``word``, ``char`` or ``jamo``.
        tokens: all that are known; the first has number 1.

    Example:
        >>> words = Words("word", ["teddy", "sleeps"])
        >>> words.numbers("Teddy snores and sleeps.", most=9)
        [1, 0, 0, 2, 0]
        >>> [token.text for token in Words("jamo", []).cut("곰", most=9)]
        ['ᄀ', 'ᅩ', 'ᆷ']
    """

    def __init__(self, kind: Literal["word", "char", "jamo"], tokens: Iterable[str]) -> None:
        self.kind, self.tokens = kind, tuple(tokens)

    @classmethod
    def of(
        cls,
        kind: Literal["word", "char", "jamo"],
        texts: Iterable[str],
        *,
        longest: int,
        min_count: int = 1,
        most: int | None = None,
    ) -> Words:
        """All tokens that occur from `min_count` times on, the most frequent first, and of equals the first read."""
        counts, empty = Counter[str](), cls(kind, ())
        for text in texts:
            counts.update(empty._spelled(text, longest))
        return cls(kind, islice((token for token, count in counts.most_common() if count >= min_count), most))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {token: number for number, token in enumerate(self.tokens, UNKNOWN + 1)}

    def cut(self, text: str, most: int) -> list[Word]:
        """The first tokens of a text."""
        if self.kind == "word":
            # A text may be a book: no more of it is looked at than may be needed.
            return split_words(text[: most * LONGEST_TOKEN])[:most]
        return list(islice(_characters(text[: most * LONGEST_TOKEN], FORMS[self.kind]), most))

    def numbers(self, text: str, most: int) -> list[int]:
        """The numbers of the first tokens of a text."""
        return [self._numbers.get(token, UNKNOWN) for token in self._spelled(text, most)]

    def number(self, token: str) -> int:
        """The number of a token; 0 if it is not known."""
        return self._numbers.get(lowered(token) if self.kind == "word" else token, UNKNOWN)

    def _spelled(self, text: str, most: int) -> list[str]:
        """The first tokens as they are known, which takes less time than with their places."""
        if self.kind == "word":
            return [lowered(token.text) for token in self.cut(text, most)]
        # Beyond the last one that is read a few more, which may be joined to it.
        return list(unicodedata.normalize(FORMS[self.kind], text[: most * LONGEST_TOKEN])[:most])

    def to_json(self) -> str:
        """The text of vocabulary.json."""
        return json.dumps({"kind": self.kind, "tokens": self.tokens}, ensure_ascii=False, indent=0) + "\n"


class Pieces(Vocabulary):
    """Pieces of words, by byte-level BPE; there is no unknown one, and 0 stands for what word dropout has taken.

    Args:
        tokenizer: as `gateflow.data.tokenizer.build_tokenizer` makes it.

    Source: Sennrich, Haddow, Birch (2016). Neural machine translation of rare words with subword units. ACL.
    arXiv:1508.07909.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def of(cls, texts: Iterable[str], folder: Path, *, most: int | None = None) -> Pieces:
        """Merges that are learnt from some texts.

        Args:
            texts: what is learnt from.
            folder: where a file may be put for the time.
            most: tokens.

        Raises:
            ConfigError: fewer than the 256 bytes and one more.
        """
        file = folder / "texts.txt"
        try:
            with appears_whole(file) as lines:
                lines.writelines((_one_line(text) + "\n").encode() for text in texts)
            return cls(build_tokenizer("bpe", file, most))
        finally:
            file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def cut(self, text: str, most: int) -> list[Word]:
        """The first pieces of a text; several that share a character have its place."""
        text = text[: most * LONGEST_TOKEN]
        # The tokenizer counts in the composed form, which nearly always is the text itself.
        characters = list(_characters(text, "NFC"))
        found = self.tokenizer.encode("".join(character.text for character in characters), add_special_tokens=False)
        places = ((characters[begin].begin, characters[end - 1].end) for begin, end in found.offsets[:most])
        return [Word(text[begin:end], begin, end) for begin, end in places]

    def number(self, token: str) -> int:
        """The number of a piece, as the tokenizer spells it; 0 if there is none."""
        found = self.tokenizer.token_to_id(token)
        return UNKNOWN if found is None else found + 1

    def numbers(self, text: str, most: int) -> list[int]:
        """The numbers of the first pieces of a text."""
        found = self.tokenizer.encode(composed(text[: most * LONGEST_TOKEN]), add_special_tokens=False)
        return [number + 1 for number in found.ids[:most]]

    def to_json(self) -> str:
        """The text of tokenizer.json."""
        return tokenizer_text(self.tokenizer)


def _one_line(text: str) -> str:
    return composed(text).replace("\n", " ").replace("\r", " ").replace("\0", " ")


def _characters(text: str, form: Form) -> Iterator[Word]:
    """The characters of a normal form of Unicode, each with the place of what it is made of."""
    begin = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or _begins(text[begin:end], text[end], form):
            yield from (Word(character, begin, end) for character in unicodedata.normalize(form, text[begin:end]))
            begin = end


def _begins(before: str, character: str, form: Form) -> bool:
    """Whether a character is never joined to what stands before it, nor trades places with it."""
    # All marks and whatever else can be joined come later in Unicode.
    if character < "\u0300":
        return True
    apart = unicodedata.normalize(form, before) + unicodedata.normalize(form, character)
    return not unicodedata.combining(character) and unicodedata.normalize(form, before + character) == apart


class _File(BaseModel):
    """What vocabulary.json holds."""

    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Literal["word", "char", "jamo"]
    tokens: list[Annotated[str, Field(min_length=1)]]


def read_words(file: Path, remedy: str) -> Words:
    """The vocabulary in a file of `Words.to_json`.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    found = read_document(_File, file, MOST_BYTES, "is no vocabulary of a classifier", remedy)
    return Words(found.kind, found.tokens)


def read_pieces_of_bpe(file: Path, remedy: str) -> Pieces:
    """The tokenizer in a file of `Pieces.to_json`.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    try:
        return Pieces(read_tokenizer(file))
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {remedy}.") from None

"""The tokens of one side: from texts to numbers, and from tokens back to text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from gateflow.data.tokenizer import (
    UNKNOWN,
    build_tokenizer,
    end_of_line,
    splits_into_characters,
    splits_into_words,
)
from gateflow.data.tokenizer_file import read_tokenizer
from gateflow.errors import DataError, RunError
from gateflow.files import appears_whole

__all__ = ["Kind", "Tokens", "Vocabularies", "read_tokens"]

Kind = Literal["word", "char", "jamo", "bpe"]


@dataclass(frozen=True)
class Tokens:
    """What a text of one side is made of.

    Texts are read in Unicode's composed form (NFC), in which a syllable of Hangul is one character; for ``jamo`` in the
    decomposed one (NFD), in which its letters are characters.

    Attributes:
        kind: ``word`` (what spaces separate), ``char``, ``jamo`` or ``bpe``.
        tokenizer: of `gateflow.data.tokenizer.build_tokenizer`; ``jamo`` are characters to it.
    """

    kind: Kind
    tokenizer: Tokenizer

    @classmethod
    def of(
        cls, kind: Kind, texts: Iterable[str], folder: Path, *, most: int | None = None, min_count: int = 1
    ) -> Tokens:
        """The tokens that occur in some texts.

        Args:
            kind: of tokens.
            texts: what is learnt from.
            folder: where a file may be put for the time.
            most: tokens to have; the most frequent stay.
            min_count: tokens that occur less often are unknown.

        Raises:
            ConfigError: `most` is too small for tokens of this kind.
        """
        file = folder / "texts.txt"
        try:
            with appears_whole(file) as lines:
                lines.writelines((_one_line(text, kind) + "\n").encode() for text in texts)
            return cls(kind, build_tokenizer("char" if kind == "jamo" else kind, file, most, min_count))
        finally:
            file.unlink(missing_ok=True)

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    @cached_property
    def end(self) -> int:
        """The number of the token that ends a text, and that a decoder begins with."""
        return end_of_line(self.tokenizer)

    @cached_property
    def unknown(self) -> int | None:
        """The number of what is not known; BPE knows everything."""
        return None if self.kind == "bpe" else self.tokenizer.token_to_id(UNKNOWN)

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of the tokens of each text; the end is not among them."""
        read = self.tokenizer.encode_batch([_one_line(text, self.kind) for text in texts], add_special_tokens=False)
        # Whoever writes `<eos>` in a text means no end of it.
        return [[n if n != self.end else self._spelled_out for n in found.ids] for found in read]

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text as they stand in it, unknown ones too; one for each number."""
        text = _one_line(text, self.kind)
        if self.kind == "word":
            return text.split()
        return list(text) if self.kind != "bpe" else self.tokenizer.encode(text, add_special_tokens=False).tokens

    def copied(self, text: str) -> list[str]:
        """For each token of a text what is written where it is copied: itself, or of BPE's pieces the whole word."""
        if self.kind == "bpe":
            text, words = _one_line(text, self.kind), list[str]()
            for found in re.finditer(r"\s*(\S+)", text):
                words += [found[1]] * len(
                    found[0]
                )  # for each character: what spaces there are belongs to the next word
            read = self.tokenizer.encode(text, add_special_tokens=False)
            return [words[begin] if begin < len(words) else "" for begin, _ in read.offsets]
        return self.tokens(text)

    def token(self, number: int) -> str:
        """The token with that number."""
        found = self.tokenizer.id_to_token(number)
        assert found is not None, "a network has one score for each token"
        return found

    def joined(self, tokens: Sequence[str]) -> str:
        """The text that some tokens are.

        Example:
            >>> from gateflow.data.tokenizer import assemble
            >>> numbers = {"<unk>": 0, "<eos>": 1, "s": 2}
            >>> Tokens("word", assemble("word", numbers)).joined(["s", "a", "n"])
            's a n'
        """
        if self.kind == "word":
            return " ".join(tokens)
        if self.kind == "bpe":
            # It has a token for each byte, the end of a line too: a translation is one line, as its source is.
            return _one_line(self.tokenizer.decoder.decode(list(tokens)), self.kind)
        return unicodedata.normalize("NFC", "".join(tokens))

    def shown(self, tokens: Sequence[str]) -> list[str]:
        """The tokens as a reader knows them: BPE writes a space as ``Ġ``, and other bytes as letters of its own."""
        return [self.joined([token]) for token in tokens] if self.kind == "bpe" else list(tokens)

    def units(self, text: str) -> list[str]:
        """What edits of a text are counted in: words for BPE, else its tokens."""
        return unicodedata.normalize("NFC", text).split() if self.kind in ("word", "bpe") else self.tokens(text)

    @cached_property
    def _spelled_out(self) -> int:
        # BPE has no unknown token, and none of its merges gives the end: there it stands for what is never read.
        return self.end if self.unknown is None else self.unknown


@dataclass(frozen=True)
class Vocabularies:
    """The tokens of both sides; features, if there are any, have numbers behind those of sources."""

    source: Tokens
    target: Tokens
    features: Tokens | None = None

    @property
    def read(self) -> int:
        """How many different tokens an encoder reads."""
        return len(self.source) + (0 if self.features is None else len(self.features))


def read_tokens(kind: Kind, file: Path, remedy: str) -> Tokens:
    """The tokens in a file that a set-up has written.

    Raises:
        RunError: they are of another kind, or none; the message ends in the remedy.
    """
    try:
        tokenizer = read_tokenizer(file)
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {remedy}.") from None
    found = "word" if splits_into_words(tokenizer) else "char" if splits_into_characters(tokenizer) else "bpe"
    if found != ("char" if kind == "jamo" else kind):
        raise RunError(f"{file} holds tokens of the kind {found}, and config.toml asks for {kind}; {remedy}.")
    return Tokens(kind, tokenizer)


def _one_line(text: str, kind: Kind) -> str:
    # A cell of CSV or JSON may hold line ends, which end texts here.
    text = text.replace("\n", " ").replace("\r", " ").replace("\0", " ")
    return unicodedata.normalize("NFD" if kind == "jamo" else "NFC", text)

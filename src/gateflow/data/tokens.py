"""Encoded text on disk: one number per token, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from gateflow.data.stream import IGNORED, TokenStream
from gateflow.data.text import Border, Piece, read_pieces
from gateflow.data.tokenizer import build_tokenizer, end_of_line, splits_into_words, whole_words
from gateflow.files import appears_whole

__all__ = ["IGNORED", "TokenCounts", "TokenStream", "build_tokenizer", "encode_file"]

# A batch is encoded on all cores. Bounded by number, for short lines, and by characters, for memory.
_PIECES_AT_ONCE, _CHARACTERS_AT_ONCE = 4096, 1 << 17


class TokenCounts(NamedTuple):
    """How much text a file holds: in the tokenizer's tokens, and in words, which all tokenizers count alike."""

    tokens: int
    words: int


def encode_file(tokenizer: Tokenizer, path: str | Path, out: str | Path) -> TokenCounts:
    r"""Encode a text file piece by piece into a NumPy array on disk, which appears whole or not at all.

    The tokens are those of whole lines, and memory does not grow with the length of a line. Only within a pre-token of
    byte-level BPE longer than 65,536 characters, which is cut there, are other merges possible than in one go.

    Args:
        tokenizer: Of :func:`build_tokenizer`.
        path: UTF-8 text, plain or gzip.
        out: The ``.npy`` file to write: one number per token, ``uint16``, or ``uint32`` for a large vocabulary.

    Returns:
        The numbers of tokens and of words. Words are what white space separates, plus one end of line per line, so
        that perplexity per word compares across tokenizers.

    Raises:
        DataError: The file is no text (see :func:`gateflow.data.text.read_pieces`), or has no words to be read.
        WriteError: The disk is full or ``out`` cannot be written. Nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "text.txt")
        ...     _ = file.write_text("the cat sleeps\n", encoding="utf-8")
        ...     encode_file(build_tokenizer("char", file), file, Path(folder, "text.npy"))
        TokenCounts(tokens=15, words=4)
    """
    # Little-endian whatever the machine, so that a run can be moved.
    dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 1 << 16 else "<u4")
    pieces = read_pieces(path)
    if splits_into_words(tokenizer):
        pieces = whole_words(pieces, Path(path))
    end, tokens, words = end_of_line(tokenizer), 0, _Words()
    with appears_whole(Path(out)) as file:
        _write_header(file, dtype, tokens)
        for batch in _batches(pieces):
            texts = [piece.text for piece in batch]
            encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids = list[int]()
            for piece, encoding in zip(batch, encodings, strict=True):
                ids += [*encoding.ids, end] if piece.border is Border.LINE else encoding.ids
                words.add(piece)
            file.write(np.asarray(ids, dtype).tobytes())
            tokens += len(ids)
        file.seek(0)
        _write_header(file, dtype, tokens)
    return TokenCounts(tokens, words.count)


class _Words:
    """Counts words and ends of line, a word once that lies in several pieces."""

    def __init__(self) -> None:
        self.count, self._inside = 0, False

    def add(self, piece: Piece) -> None:
        text, ends_line = piece.text, piece.border is Border.LINE
        # A piece may end inside a word: its second half is not counted again.
        goes_on = self._inside and bool(text) and not text[0].isspace()
        self.count += len(text.split()) - goes_on + ends_line
        self._inside = not ends_line and not text[-1].isspace()


def _batches(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    batch, length = list[Piece](), 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece.text)
        if len(batch) == _PIECES_AT_ONCE or length >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


def _write_header(file: BinaryIO, dtype: np.dtype, length: int) -> None:
    # NumPy pads the header so that the length can grow in place.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)

"""Encoded text on disk: one number per token, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from gateflow.data.stream import IGNORED, TokenStream
from gateflow.data.text import read_lines
from gateflow.data.tokenizer import build_tokenizer
from gateflow.files import appears_whole

__all__ = ["IGNORED", "TokenCounts", "TokenStream", "build_tokenizer", "encode_file"]

_LINES_AT_ONCE = 4096


class TokenCounts(NamedTuple):
    """How much text a file holds: in the tokenizer's tokens, and in words, which all tokenizers count alike."""

    tokens: int
    words: int


def encode_file(tokenizer: Tokenizer, path: str | Path, out: str | Path) -> TokenCounts:
    r"""Encode a text file line by line into a NumPy array on disk, which appears whole or not at all.

    Args:
        tokenizer: Of :func:`build_tokenizer`.
        path: UTF-8 text, plain or gzip.
        out: The ``.npy`` file to write: one number per token, ``uint16``, or ``uint32`` for a large vocabulary.

    Returns:
        The numbers of tokens and of words. Words are what white space separates, plus one end of line per line, so
        that perplexity per word compares across tokenizers.

    Raises:
        DataError: The file is no text (see :func:`gateflow.data.text.read_lines`).
        WriteError: The disk is full or ``out`` cannot be written. Nothing is left behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "text.txt")
        ...     _ = file.write_text("the cat sleeps\n", encoding="utf-8")
        ...     encode_file(build_tokenizer("char", file), file, Path(folder, "text.npy"))
        TokenCounts(tokens=15, words=4)
    """
    dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 1 << 16 else "<u4")
    tokens = words = 0
    with appears_whole(Path(out)) as file:
        _write_header(file, dtype, tokens)
        for lines in _batches(read_lines(path)):
            for encoded in tokenizer.encode_batch_fast(lines):
                file.write(np.asarray(encoded.ids, dtype).tobytes())
                tokens += len(encoded.ids)
            words += sum(len(line.split()) + 1 for line in lines)
        file.seek(0)
        _write_header(file, dtype, tokens)
    return TokenCounts(tokens, words)


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    lines = iter(lines)
    while batch := list(islice(lines, _LINES_AT_ONCE)):
        yield batch


def _write_header(file: BinaryIO, dtype: np.dtype, length: int) -> None:
    # NumPy pads the header so that the length can grow in place.
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)

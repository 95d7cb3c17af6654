"""Word vectors out of files in text form, as GloVe, word2vec and fastText write them: a line a word and its numbers."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateflow.data.source import chunks, require, spoken
from gateflow.data.track import Track
from gateflow.errors import DataError

__all__ = ["WordVectors", "read_vectors"]

# A word and a thousand numbers take 20 KB; what has longer lines is no list of vectors.
_LONGEST_LINE = 1 << 20
_HEADER = re.compile(rb"\d+ \d+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What can be written in text and is no number of a vector, though Python's `float` takes it.
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: in the order of the file.
        matrix: [words, dimension], float32.
        lines: how many words the file has.
        unreadable: how many of these are not UTF-8, and so could be none of those that were wanted.
    """

    words: list[str]
    matrix: NDArray[np.float32]
    lines: int
    unreadable: int = 0


def read_vectors(
    path: str | Path,
    wanted: Container[str] | Callable[[str], bool],
    *,
    track: Track = lambda items, doing, total: items,
) -> WordVectors:
    """Read the vectors of the words that are wanted, in one pass; memory depends on no others.

    A line is a word, a space, and its numbers. The first line may give the number of words and the dimension, as
    word2vec and fastText write; else it is a word, and all lines have as many numbers. A word may hold spaces, unless
    what follows the last of them is a number. Of a word that comes twice the first vector counts.

    Args:
        path: A file, plain or gzip, a named pipe, or ``-`` for what is piped in.
        wanted: A set or dictionary of words, or what says of a word whether it is wanted.
        track: Shows progress over the lines; how many there are is taken from the first line, or is estimated.

    Raises:
        DataError: The file is missing, empty or not text; a line has too few or too many numbers, or what is no finite
            number in float32, where it belongs to a wanted word; or none of the words is wanted. The message names the
            line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "two.vec"
        >>> _ = file.write_text("3 2\\nbear 1 0.5\\nthe -1 2e-1\\ncat 0 0\\n", encoding="utf-8")
        >>> vectors = read_vectors(file, {"cat", "bear"})
        >>> vectors.words, vectors.matrix.tolist()
        (['bear', 'cat'], [[1.0, 0.5], [0.0, 0.0]])
    """
    path = Path(path)
    require(path)
    is_wanted = wanted if callable(wanted) else wanted.__contains__
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{spoken(path)} is empty. Give a file with vectors in it.")
    first = first.removeprefix(_BYTE_ORDER_MARK)
    header, dimension, count = _shape(first, path)
    # Line 1 again where it is a word.
    numbered = enumerate(lines if header else chain([first], lines), 1 + header)
    return _Reading(spoken(path), dimension, is_wanted).of(track(numbered, "reading vectors", count))


def _lines(path: Path) -> Iterator[bytes]:
    """Lines as bytes: most are not wanted, and to decode their numbers would take longest."""
    rest, number = b"", 1
    for chunk in chunks(path):
        if b"\0" in chunk:
            line = number + chunk[: chunk.index(0)].count(b"\n")
            raise DataError(
                f"{spoken(path)} is not text: there is a NUL byte in line {line}. "
                "Vectors in binary form (.bin, .npy) are not read; save them as text, such as .vec or .txt."
            )
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.rstrip(b" \t\r") for line in whole)
        number += len(whole)
        if len(rest) > _LONGEST_LINE:
            raise DataError(
                f"{spoken(path)}, line {number}: longer than {_LONGEST_LINE:,} bytes. "
                "Vectors are text, a line for each word."
            )
    if rest:
        yield rest.rstrip(b" \t\r")


def _shape(first: bytes, path: Path) -> tuple[bool, int, int]:
    """Whether the first line is a header, the dimension, and about how many words there are."""
    first = first.replace(b"\t", b" ")
    if _HEADER.fullmatch(first):
        count, dimension = map(int, first.split(b" "))
        if not 0 < dimension <= _LONGEST_LINE:
            raise DataError(f"{spoken(path)}, line 1: vectors of {dimension} numbers. Give a file with vectors in it.")
        return True, dimension, count
    dimension = first.count(b" ")
    if not dimension:
        found = "an empty line" if not first else f"{first.decode('utf-8', 'replace')!r:.40}"
        raise DataError(
            f"{spoken(path)}, line 1: expected a word and its vector, or the number of words and the dimension; "
            f"found {found}. Give vectors in text form, as GloVe or fastText (.vec) have them."
        )
    size = path.stat().st_size if path.is_file() else 0
    return False, dimension, size // (len(first) + 1)


class _Reading:
    """One pass over the lines of a file."""

    def __init__(self, path: str, dimension: int, is_wanted: Callable[[str], bool]) -> None:
        self.path, self.dimension, self.is_wanted = path, dimension, is_wanted
        # The words in their order; what is looked up to tell those that come again.
        self.words = dict[str, None]()
        # One block that grows, not an array for each word.
        self.numbers = array("f")
        self.lines = self.unreadable = 0

    def of(self, lines: Iterable[tuple[int, bytes]]) -> WordVectors:
        for number, line in lines:
            # Blank lines are at the end, where an editor left them; elsewhere they would be a word of no name.
            if line:
                self._take(number, line.replace(b"\t", b" "))
        if not self.words:
            raise DataError(
                f"{self.path} has vectors of {self.lines:,} words, and none is wanted. "
                "Give vectors of the text's language, with capital letters where the text has them."
            )
        matrix = np.frombuffer(self.numbers, dtype=np.float32).reshape(len(self.words), self.dimension)
        return WordVectors(list(self.words), matrix, self.lines, self.unreadable)

    def _take(self, number: int, line: bytes) -> None:
        end = self._end_of_word(number, line)
        self.lines += 1
        try:
            word = line[:end].decode("utf-8")
        except UnicodeDecodeError:
            self.unreadable += 1
            return
        if self.is_wanted(word) and word not in self.words:
            self.numbers.frombytes(self._vector(number, word, line[end + 1 :]).tobytes())
            self.words[word] = None

    def _end_of_word(self, number: int, line: bytes) -> int:
        # Counted, not split: most lines are of words that nobody wants.
        spaces = line.count(b" ")
        if spaces == self.dimension:
            return line.index(b" ")
        word = line.rsplit(b" ", self.dimension)[0] if spaces > self.dimension else b""
        if not word or _NUMBER.fullmatch(word.rpartition(b" ")[2]):
            raise DataError(self._wrong_width(number, line))
        return len(word)

    def _vector(self, number: int, word: str, text: bytes) -> NDArray[np.float32]:
        fields = text.split(b" ")
        try:
            # A number too large for float32 becomes infinite, and is refused below, without numpy's warning.
            with np.errstate(over="ignore"):
                vector = np.array([float(field) for field in fields]).astype(np.float32)
            # Python takes 1_000 for a number; who wrote it did not mean one.
            if np.isfinite(vector).all() and b"_" not in text:
                return vector
        except ValueError:
            pass
        wrong = next(field for field in fields if not _is_finite(field))
        raise DataError(
            f"{self.path}, line {number}: {wrong.decode('utf-8', 'replace')!r:.40} in the vector of {word!r:.40} "
            "is no finite number of float32. Correct the line, or take it out."
        )

    def _wrong_width(self, number: int, line: bytes) -> str:
        fields = line.split(b" ")
        found = next((k for k, field in enumerate(reversed(fields)) if not _NUMBER.fullmatch(field)), len(fields))
        return (
            f"{self.path}, line {number}: {found} numbers after the word {fields[0].decode('utf-8', 'replace')!r:.40}, "
            f"where the first line says {self.dimension}. Correct the line, or take it out."
        )


def _is_finite(field: bytes) -> bool:
    return bool(_NUMBER.fullmatch(field)) and abs(float(field)) <= float(np.finfo(np.float32).max)

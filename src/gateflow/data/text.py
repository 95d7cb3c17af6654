"""Text from a file in pieces of bounded length, however long its lines, with an answer for all that is not text."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from gateflow.data.source import STDIN, UTF_16_MARKS, chunks, require, spoken
from gateflow.errors import DataError

__all__ = ["LONGEST", "Border", "Piece", "half_character", "read_lines", "read_pieces", "readable_again"]

# A tokenizer takes about 190 bytes for each character of a text that it is given whole: 12 MB for a piece.
LONGEST = 1 << 16
"""Characters of a piece, at most."""
LONGEST_LINE = 1 << 24
"""Characters of a line, at most, where lines are asked for as a whole."""


class Border(Enum):
    """What lies behind a piece, the best first: a piece ends at the best that its last characters offer."""

    LINE = "the end of the line"
    SPACE = "white space, and no white space before it"
    SYMBOL = "after a letter or digit, something that is neither, nor white space: another token begins for certain"
    NOTHING = "more of the same: there was no border in the whole piece"


class Piece(NamedTuple):
    """A stretch of a line, and what lies behind it."""

    text: str
    border: Border


# White space as Python and the tokenizers' regular expressions both understand it; \x1c to \x1f they do not agree on.
_PLACES = {
    Border.SPACE: re.compile(r"(?<=\S)(?=[^\S\x1c-\x1f])"),
    Border.SYMBOL: re.compile(r"(?<=[^\W_])(?=[^\w\s]|_)"),
}
# Backwards from the end, ever wider: most text has white space within 256 characters, so few pieces are
# searched as a whole.
_LOOKED_AT = (256, 4096, LONGEST)


def read_pieces(path: str | Path) -> Iterator[Piece]:
    r"""Yield a UTF-8 text in pieces of at most 65,536 characters, so that memory depends on no line's length.

    A line that is short enough is one piece. A longer one is cut, as near to that length as may be, before white space;
    else where a letter or digit meets a symbol; else at that length. Words and the pre-tokens of byte-level BPE lie
    within one piece unless they are longer than a piece themselves. Where it is cut depends on the text alone, not on
    how it is stored. Gzip is recognised by its first two bytes, whatever the file is called. A byte order mark is
    dropped and ``\r\n`` counts as ``\n``.

    Args:
        path: A file or named pipe, or ``-`` for what is piped in. Whether it can be read is checked at once, its
            content as the pieces are taken.

    Raises:
        DataError: The file is missing, a folder, a device, empty, nothing but white space, binary, not UTF-8, or gzip
            data that is cut short, damaged, or expands beyond all text. The message names the place and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "two.txt")
        ...     _ = file.write_text("x" * 65_530 + " y z one\n", encoding="utf-8")
        ...     [(len(piece.text), piece.border.name) for piece in read_pieces(file)]
        [(65534, 'SPACE'), (4, 'LINE')]
    """
    path = Path(path)
    require(path)
    return _cut(_decoded(path))


def half_character(text: str) -> int | None:
    """The place of the first half of a character, a lone surrogate, which JSON and Python can spell and no file holds.

    Example:
        >>> half_character("caf\\u00e9"), half_character("caf\\ud800")
        (None, 3)
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text one by one, without their line ends.

    Args:
        path: As for :func:`read_pieces`.

    Raises:
        DataError: As :func:`read_pieces`; or a line is longer than 16,777,216 characters.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "two.txt")
        ...     _ = file.write_text("고양이가 잔다\nthe cat sleeps\n", encoding="utf-8")
        ...     list(read_lines(file))
        ['고양이가 잔다', 'the cat sleeps']
    """
    return _joined(read_pieces(path), Path(path))


@contextmanager
def readable_again(path: Path, folder: Path) -> Iterator[Path]:
    """The path for the time of the block, or that of a copy inside `folder` if the text can be read only once.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = file.write_text("the cat")
        >>> with readable_again(file, file.parent) as path:
        ...     path == file
        True
    """
    require(path)
    if path != STDIN and path.is_file():
        yield path
        return
    # In the folder that was named, which has room for the tokens as well; /tmp may be small, or in memory.
    with TemporaryDirectory(dir=folder) as name:
        copy = Path(name, spoken(path).rpartition("/")[2])
        with copy.open("w", encoding="utf-8", newline="\n") as file:
            for piece in read_pieces(path):
                file.write(piece.text + "\n" * (piece.border is Border.LINE))
        yield copy


def _joined(pieces: Iterator[Piece], path: Path) -> Iterator[str]:
    held, length, number = list[str](), 0, 1
    for piece in pieces:
        held.append(piece.text)
        length += len(piece.text)
        if length > LONGEST_LINE:
            raise DataError(f"{spoken(path)}, line {number}: longer than {LONGEST_LINE:,} characters. Break it up.")
        if piece.border is Border.LINE:
            yield "".join(held)
            held, length, number = [], 0, number + 1


def _cut(texts: Iterator[str]) -> Iterator[Piece]:
    rest = ""
    for text in texts:
        # Only newlines: `splitlines` would also break at form feeds and Unicode's own line ends, which
        # are part of a line.
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            while len(line) > LONGEST:
                piece, line = _first_piece(line)
                yield piece
            yield Piece(line.removesuffix("\r"), Border.LINE)
        # Not only when its end has come: a line without end would fill the memory.
        while len(rest) > LONGEST:
            piece, rest = _first_piece(rest)
            yield piece
    if rest:
        yield Piece(rest.removesuffix("\r"), Border.LINE)


def _first_piece(line: str) -> tuple[Piece, str]:
    for border, place in _PLACES.items():
        for width in _LOOKED_AT:
            begin = LONGEST - width
            matches = (match.start() for match in place.finditer(line, begin, LONGEST + 1))
            # A character that this Python does not know may be a letter to the tokenizers' newer Unicode.
            if found := [k for k in matches if k > begin and unicodedata.category(line[k]) != "Cn"]:
                return Piece(line[: found[-1]], border), line[found[-1] :]
    return Piece(line[:LONGEST], Border.NOTHING), line[LONGEST:]


def _decoded(path: Path) -> Iterator[str]:
    """The text as it is read; where it is none, what lies before comes first and the complaint then."""
    # "utf-8-sig" drops the byte order mark of Windows' editors, which would be part of the first word.
    decoder, offset, line, column, blank = codecs.getincrementaldecoder("utf-8-sig")(), 0, 1, 1, True
    for raw in _and_an_end(chunks(path)):
        # Told apart from other bytes that are no UTF-8, since the remedy differs.
        if offset == 0 and raw.startswith(UTF_16_MARKS):
            raise DataError(f"{spoken(path)} is UTF-16, not UTF-8. {_convert('UTF-16', path)}")
        text, fault = _as_far_as_text(decoder, raw)
        blank = blank and not text.strip()
        yield text
        line += text.count("\n")
        # In characters, as an editor counts: a Korean syllable is three bytes.
        column = len(text) - text.rfind("\n") if "\n" in text else column + len(text)
        if fault is not None:
            raise DataError(_complaint(path, fault[0], offset + fault[1], f"line {line}, column {column}"))
        offset += len(raw)
    if offset == 0:
        raise DataError(f"{spoken(path)} is empty. Give a file with text in it.")
    if blank:
        raise DataError(f"{spoken(path)} holds nothing but white space ({offset} bytes). Give a file with text in it.")


def _and_an_end(parts: Iterator[bytes]) -> Iterator[bytes]:
    yield from parts
    yield b""


def _as_far_as_text(decoder: codecs.IncrementalDecoder, raw: bytes) -> tuple[str, tuple[int, int] | None]:
    """The text of the next bytes, none for the end; and the first byte that is none, with its place among them."""
    # NUL is valid UTF-8, and in no text: it tells binary files and UTF-16 without a mark.
    nul, held = raw.find(0), len(decoder.getstate()[0])
    good = raw if nul < 0 else raw[:nul]
    try:
        return decoder.decode(good, final=not raw), None if nul < 0 else (0, nul)
    except UnicodeDecodeError as error:
        mark = held + len(good) - len(error.object)
        fault = error.object[error.start], mark + error.start - held
        return error.object[: error.start].decode("utf-8"), fault


def _complaint(path: Path, byte: int, offset: int, place: str) -> str:
    if byte == 0:
        return (
            f"{spoken(path)} is not text: there is a NUL byte at offset {offset} ({place}). "
            f"Give a plain or gzip text file. {_convert('UTF-16LE', path)} if it is text in UTF-16."
        )
    return (
        f"{spoken(path)} is not UTF-8: byte 0x{byte:02x} at offset {offset} "
        f"({place}) fits no character. {_convert('CP1252', path)}, with the text's own encoding after -f."
    )


def _convert(encoding: str, path: Path) -> str:
    iconv = f"iconv -f {encoding} -t UTF-8"
    if path == STDIN:
        return f"Convert it on its way: … | {iconv} | gateflow …"
    if path.suffix == ".gz":
        return f"Convert it: zcat {path} | {iconv} > {path.stem}.utf8"
    return f"Convert it: {iconv} {path} > {path.name}.utf8"

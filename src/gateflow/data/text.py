"""Lines of text from a file, plain or gzip, with an answer for every file that is not text."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gateflow.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: str | Path) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text file one by one, without their line ends.

    The file is read as a stream, so its size is not bounded by memory, only its longest line is. Gzip is recognised by
    its first two bytes, whatever the file is called. A byte order mark is dropped and ``\r\n`` counts as ``\n``.

    Args:
        path: The file. Whether it is there and can be read is checked at once, its content as the lines are taken.

    Raises:
        DataError: The file is missing, a folder, empty, nothing but white space, binary, not UTF-8, or gzip data that
            is cut short or damaged. The message names the place and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "two.txt")
        ...     _ = file.write_text("고양이가 잔다\nthe cat sleeps\n", encoding="utf-8")
        ...     list(read_lines(file))
        ['고양이가 잔다', 'the cat sleeps']
    """
    path = Path(path)
    _open(path).close()
    return _decode(path)


def _open(path: Path) -> BinaryIO:
    if path.is_dir():
        raise DataError(f"{path} is a folder, and one text file was asked for: name the file inside it.")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give the path of a UTF-8 text file, plain or gzip.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}.") from error


def _decode(path: Path) -> Iterator[str]:
    offset, blank = 0, True
    for number, raw in enumerate(_raw_lines(path), start=1):
        line = _decode_line(raw, path, number, offset)
        offset += len(raw)
        blank = blank and not line.strip()
        yield line
    if offset == 0:
        raise DataError(f"{path} is empty. Give a file with text in it.")
    if blank:
        raise DataError(f"{path} holds nothing but white space ({offset} bytes). Give a file with text in it.")


def _raw_lines(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        magic = file.read(len(_GZIP_MAGIC))
        file.seek(0)
        try:
            yield from gzip.GzipFile(fileobj=file) if magic == _GZIP_MAGIC else file
        except EOFError as error:
            raise DataError(f"{path} ends before its gzip data does: it was cut short. Copy it again.") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} holds damaged gzip data ({error}). Copy it again.") from error


def _decode_line(raw: bytes, path: Path, number: int, offset: int) -> str:
    if number == 1 and raw.startswith(_UTF_16_MARKS):
        raise DataError(f"{path} is UTF-16, not UTF-8. {_convert('UTF-16', path)}")
    if b"\0" in raw:
        raise DataError(
            f"{path} is not text: there is a NUL byte at offset {offset + raw.index(0)} (line {number}). "
            f"Give a plain or gzip text file. {_convert('UTF-16LE', path)} if it is text in UTF-16."
        )
    try:
        line = raw.removeprefix(_BYTE_ORDER_MARK if number == 1 else b"").decode("utf-8")
    except UnicodeDecodeError as error:
        mark = len(raw) - len(error.object)
        raise DataError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {offset + mark + error.start} "
            f"(line {number}) fits no character. {_convert('CP1252', path)}, with the file's own encoding after -f."
        ) from error
    return line.removesuffix("\n").removesuffix("\r")


def _convert(encoding: str, path: Path) -> str:
    return f"Convert it: iconv -f {encoding} -t UTF-8 {path} > {path.name}.utf8"

"""The bytes of a text, wherever they come from: a file, plain or gzip, a named pipe, or what is piped in (``-``)."""

from __future__ import annotations

import gzip
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import cast

from gateflow.errors import DataError

__all__ = ["beginning", "chunks", "is_binary", "require", "spoken"]

STDIN = Path("-")
"""What stands for the text that is piped in."""
MOST_FOLD, FREELY = 200, 1 << 26
"""Gzip data may expand to 64 MiB, and beyond that to 200 times their size. Text is packed to a fifth or a tenth, a log
of equal lines to a hundredth; the format allows a thousandth, which is how 10 MB fill a disk."""

# As much as a pipe holds on Linux.
_CHUNK = 1 << 16
_GZIP_MAGIC = b"\x1f\x8b"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# The head of a picture or a sound has a NUL byte among its first.
_LOOKED_AT = 1 << 10


def spoken(path: Path) -> str:
    """What a source is called in a message.

    Example:
        >>> spoken(Path("text.txt")), spoken(Path("-"))
        ('text.txt', 'stdin')
    """
    return "stdin" if path == STDIN else str(path)


def require(path: Path) -> None:
    """Refuse what cannot be read to an end; nothing is taken out of a pipe by it.

    Raises:
        DataError: there is no such file, it is a folder or a device, may not be read, or nothing is piped in.
    """
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise DataError("- stands for a text that is piped in, and nothing is. Write `cat FILE | gateflow …`.")
        return
    try:
        kind = path.stat().st_mode
        # Opened to learn whether it may be read. A pipe is not: closing it again would end its writer.
        if stat.S_ISREG(kind):
            path.open("rb").close()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Give the path of a UTF-8 text file, plain or gzip.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}.") from error
    if stat.S_ISDIR(kind):
        raise DataError(f"{path} is a folder, and one text file was asked for: name the file inside it.")
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        raise DataError(
            f"{path} is a device or a socket, and may have no end. Give a file, or pipe a text in with `-`."
        )


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a source, unpacked if it is gzip, 64 KiB or less at a time.

    Raises:
        DataError: gzip data that are damaged, cut short, or expand beyond all text.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "text.gz"
        >>> _ = file.write_bytes(gzip.compress(b"the cat"))
        >>> list(chunks(file))
        [b'the cat']
    """
    with _opened(path) as file:
        source = _Counted(file)
        try:
            yield from _unpacked(source, path) if source.is_gzip else iter(lambda: source.read(_CHUNK), b"")
        except EOFError as error:
            text = f"{spoken(path)} ends before its gzip data does: it was cut short. Copy it again."
            raise DataError(text) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{spoken(path)} holds damaged gzip data ({error}). Copy it again.") from error


def is_binary(path: Path) -> bool:
    """Whether a file holds a byte that no text has, at its beginning; a pipe is not looked into.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "line.png"
        >>> _ = file.write_bytes(b"\\x89PNG\\r\\n\\x1a\\n\\0\\0\\0\\rIHDR")
        >>> is_binary(file)
        True
    """
    if not path.is_file():
        return False
    first = beginning(path, _LOOKED_AT)
    return b"\0" in first and not first.startswith(UTF_16_MARKS)


def beginning(path: Path, size: int) -> bytes:
    """The first bytes of a file, unpacked if it is gzip; all there are if they are fewer.

    Raises:
        DataError: as `chunks`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "text"
        >>> _ = file.write_bytes(b"the cat")
        >>> beginning(file, 5)
        b'the c'
    """
    found = b""
    # `chunks` gives what is there already, which may be a byte or two.
    for chunk in chunks(path):
        found += chunk
        if len(found) >= size:
            break
    return found[:size]


def _opened(path: Path) -> AbstractContextManager[BufferedReader]:
    return nullcontext(cast("BufferedReader", sys.stdin.buffer)) if path == STDIN else path.open("rb")


def _unpacked(source: _Counted, path: Path) -> Iterator[bytes]:
    given = 0
    with gzip.GzipFile(fileobj=source, mode="rb") as file:  # type: ignore[arg-type]
        while chunk := file.read(_CHUNK):
            given += len(chunk)
            # At each chunk, so that a bomb is refused before it has gone off.
            if given > max(FREELY, MOST_FOLD * source.taken):
                raise DataError(
                    f"{spoken(path)} is no text: {source.taken:,} bytes of gzip data expand to more than {given:,}. "
                    f"Beyond {FREELY >> 20} MiB up to {MOST_FOLD} times is taken; unpack it yourself if it is right."
                )
            yield chunk


class _Counted:
    """What GzipFile reads from: a stream that cannot go back, though its first two bytes have been looked at."""

    def __init__(self, file: BufferedReader) -> None:
        self.file, self.taken = file, 0
        # By its first bytes and not by its name: what is piped in has none.
        self._first = file.read(len(_GZIP_MAGIC))
        self.is_gzip = self._first == _GZIP_MAGIC

    def read(self, size: int) -> bytes:
        first, self._first = self._first[:size], self._first[size:]
        # What is there already, not all of `size`: a line that is typed or piped in is answered before the next one.
        data = first or self.file.read1(size)
        self.taken += len(data)
        return data

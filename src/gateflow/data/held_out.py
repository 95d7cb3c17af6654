"""The last lines of a text, kept apart for validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from gateflow.data.text import Border, Piece, read_pieces
from gateflow.errors import DataError


@contextmanager
def held_out(path: Path, share: float, folder: Path) -> Iterator[tuple[Path, Path]]:
    r"""Two text files for the time of the block: the first lines of `path`, and its last `share`, at least one line.
    Blank lines at the very end belong to neither.

    They lie in a temporary folder inside `folder`, so that the text may be larger than memory, a line of it too.

    Raises:
        DataError: the text has one line only.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "text").write_text("a\nb\nc\n")
        >>> with held_out(folder / "text", 0.05, folder) as (head, tail):
        ...     head.read_text(), tail.read_text()
        ('a\nb\n', 'c\n')
    """
    # Read twice rather than held: the text may be larger than memory.
    count = max((number for number, piece in _numbered(path) if piece.text.strip()), default=0)
    if count < 2:
        raise DataError(f"{path} is one line, so none can be held out for validation; give a second text with --valid.")
    # At least one line, for a validation needs something.
    first = count - max(1, round(share * count))
    with TemporaryDirectory(dir=folder) as name:
        head, tail = Path(name, "head.txt"), Path(name, "tail.txt")
        with (
            head.open("w", encoding="utf-8", newline="\n") as before,
            tail.open("w", encoding="utf-8", newline="\n") as after,
        ):
            for number, piece in takewhile(lambda numbered: numbered[0] <= count, _numbered(path)):
                (before if number <= first else after).write(piece.text + "\n" * (piece.border is Border.LINE))
        yield head, tail


def _numbered(path: Path) -> Iterator[tuple[int, Piece]]:
    """Pieces with the number of their line, from 1."""
    number = 1
    for piece in read_pieces(path):
        yield number, piece
        number += piece.border is Border.LINE

"""The last lines of a text, kept apart for validation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from gateflow.data.text import read_lines
from gateflow.errors import DataError


@contextmanager
def held_out(path: Path, share: float, folder: Path) -> Iterator[tuple[Path, Path]]:
    r"""Two text files for the time of the block: the first lines of `path`, and its last `share`, at least one line.
    Blank lines at the very end belong to neither.

    They lie in a temporary folder inside `folder`, so that the text may be larger than memory.

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
    count = max((number for number, line in enumerate(read_lines(path), 1) if line.strip()), default=0)
    if count < 2:
        raise DataError(f"{path} is one line, so none can be held out for validation; give a second text with --valid.")
    first = count - max(1, round(share * count))
    with TemporaryDirectory(dir=folder) as name:
        head, tail = Path(name, "head.txt"), Path(name, "tail.txt")
        lines = read_lines(path)
        _write(head, islice(lines, first))
        _write(tail, islice(lines, count - first))
        yield head, tail


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)

"""Files that appear whole or not at all, whatever is killed and whenever the disk is full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on leaving the block its content takes the place of ``path`` in one step.

    If the block fails, or the process is killed inside it, the previous file stays as it was.

    Raises:
        OSError: The file system refused: disk full, no permission.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "text.txt"
        >>> with appears_whole(target) as draft:
        ...     _ = draft.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        flush(draft)
        os.replace(draft, path)
        flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

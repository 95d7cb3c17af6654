"""The files of a run: each appears whole or not at all, and a refusal of the file system is told with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateflow.data.files import appears_whole
from gateflow.errors import RunError


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write to; on leaving the block its content takes the place of `path` in one step.

    If the block fails, or the process is killed inside it, the previous file stays as it was.

    Raises:
        RunError: the file system refused (disk full, no permission); the message says which file and what to do.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "config.toml"
        >>> with appearing_whole(target) as draft:
        ...     _ = draft.write_text("format = 1")
        >>> target.read_text()
        'format = 1'
    """
    try:
        with appears_whole(path) as draft:
            yield draft
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> RunError:
    """What to tell the user when `path` could not be written."""
    return RunError(
        f"could not write {path}: {error.strerror or error}. What was there before is untouched; "
        "make room or choose a folder you may write to, then go on."
    )

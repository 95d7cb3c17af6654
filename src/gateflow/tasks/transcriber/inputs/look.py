"""What the lines of a file or folder are, found by looking at its names and its first bytes."""

from __future__ import annotations

from pathlib import Path

from gateflow.data.images.pixels import IMAGES
from gateflow.data.listing import are_listed, is_file_of
from gateflow.data.sounds.reading import commonest_rate
from gateflow.data.sounds.recordings import SOUNDS
from gateflow.data.source import beginning, require, spoken
from gateflow.data.transcripts import transcripts
from gateflow.errors import DataError

__all__ = ["kind_of", "rate_of_most"]

_LOOKED_AT = 1 << 10


def kind_of(path: Path) -> str:
    """``image``, ``sound`` or ``strokes``.

    Raises:
        DataError: there is nothing, or it looks like none of these.

    Example:
        >>> kind_of(Path("line.png")), kind_of(Path("digits.flac"))
        ('image', 'sound')
    """
    for kind, endings in (("image", IMAGES), ("sound", SOUNDS)):
        if is_file_of(path, endings) or are_listed(path, endings) or _are_mostly(path, endings):
            return kind
    if not path.is_dir():
        require(path)
        if beginning(path, _LOOKED_AT).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            return "strokes"
    raise DataError(
        f"{spoken(path)} looks like no pictures, sounds or strokes. Give a list of paths and texts separated by tabs, "
        "a folder with x.gt.txt beside x.png, or JSON lines of strokes; or say which it is with --input."
    )


def rate_of_most(path: Path) -> int:
    """The samples a second that most recordings have.

    Raises:
        DataError: nothing is there, or no file can be read.
    """
    return commonest_rate(transcripts(path, SOUNDS, what="recording"))


def _are_mostly(folder: Path, endings: frozenset[str]) -> bool:
    """Whether a folder holds such files, and no other kind of line more often."""
    if not folder.is_dir():
        return False
    found = [file for file in folder.rglob("*") if is_file_of(file, IMAGES | SOUNDS)]
    return 2 * sum(is_file_of(file, endings) for file in found) > len(found)

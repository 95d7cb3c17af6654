"""Which recordings there are, and what is said in each: a folder for each class, or a list in a file.

digits/one/anna.wav             train.tsv:   audio/anna-1.wav <tab> one <tab> anna
digits/two/anna.wav                          path, label, and if there is one, a group: the speaker
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateflow.data.source import spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["Recording", "is_list", "is_sound", "recordings"]

_ENDINGS = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".au"})
_HEADER = frozenset({"path", "file", "filename", "audio"})
"""What the first cell of a list is called where its first line names the columns."""


@dataclass(frozen=True)
class Recording:
    """A file with sound.

    Attributes:
        path: of the file.
        label: what it is; None where only files are known.
        group: who or what it belongs to, such as a speaker; None where that is not known.
    """

    path: Path
    label: str | None = None
    group: str | None = None


def recordings(path: str | Path) -> list[Recording]:
    r"""All recordings of a folder or a list.

    Args:
        path: a folder whose folders are classes and hold the files, at any depth; or a list, one recording a line: its
            path, from where the list lies, then its label and its group, separated by tabs; a first line that begins
            with ``path`` or ``file`` names these columns; or one file with sound.

    Raises:
        DataError: nothing is there; a line has more cells than three or no path; a file stands in a list twice.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "list.tsv").write_text("a.wav\tone\tanna\nb.wav\ttwo\tanna\n")
        >>> [(found.path.name, found.label, found.group) for found in recordings(folder / "list.tsv")]
        [('a.wav', 'one', 'anna'), ('b.wav', 'two', 'anna')]
    """
    path = Path(path)
    if path.is_dir():
        found = list(_of_folder(path))
        if not found:
            wanted = ", ".join(sorted(_ENDINGS))
            raise DataError(
                f"{path} holds no folder with sounds in it ({wanted}); a folder for each class is expected."
            )
        return found
    return [Recording(path)] if is_sound(path) else _of_list(path)


def is_sound(path: Path) -> bool:
    """Whether a file is named as one with sound is.

    Example:
        >>> is_sound(Path("one.FLAC")), is_sound(Path("one.txt"))
        (True, False)
    """
    return path.suffix.lower() in _ENDINGS


def is_list(line: str) -> bool:
    """Whether a file with this first line is a list of recordings.

    Example:
        >>> is_list("audio/anna-1.wav\tone"), is_list("a fine recording\tgood")
        (True, False)
    """
    first = line.split("\t")[0].strip()
    return "\t" in line and (first.lower() in _HEADER or is_sound(Path(first)))


def _of_folder(folder: Path) -> Iterator[Recording]:
    for of_class in sorted(each for each in folder.iterdir() if each.is_dir()):
        for file in sorted(of_class.rglob("*")):
            if is_sound(file) and file.is_file():
                yield Recording(file, of_class.name)


def _of_list(path: Path) -> list[Recording]:
    found: dict[Path, Recording] = {}
    for number, line in enumerate(read_lines(path), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells) or (number == 1 and cells[0].lower() in _HEADER):
            continue
        where = f"{spoken(path)}, line {number}"
        if len(cells) > 3 or not cells[0]:
            raise DataError(f"{where}: a line is a path, a label and a group, separated by tabs; {line[:60]!r} is not.")
        file = path.parent / cells[0]
        if file in found:
            raise DataError(f"{where}: {cells[0]} stands in the list already. Name each recording once.")
        found[file] = Recording(file, *(cell or None for cell in cells[1:]))
    if not found:
        raise DataError(f"{spoken(path)} names no recording.")
    return list(found.values())

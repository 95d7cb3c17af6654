"""Files of sound or pictures, and what each holds, as a list in a text file has them.

audio/anna-1.wav <tab> one <tab> anna        path, what it is or says, and if there is one, a group: the speaker
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from os.path import realpath
from pathlib import Path

from gateflow.data.source import is_binary, spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["LABEL", "TEXT", "ListedFile", "are_listed", "hidden", "is_file_of", "read_listing"]

LABEL, TEXT = ("label", "class"), ("text", "transcript", "transcription", "sentence")
"""What the column is called that says which class a file is of, or what is written or spoken in it."""

_PATHS = ("path", "file", "filename", "audio", "image")
_GROUPS = ("group", "speaker", "speaker_id", "client_id", "writer")
# Lines that are looked at to tell a list of files from other tables.
_LOOKED_AT = 50


@dataclass(frozen=True)
class ListedFile:
    """A file, and what is known of it.

    Attributes:
        path: of the file.
        name: the path as it was written: in a list from where the list lies.
        label: what it is, or what is written or said in it; None where only files are known.
        group: who or what it belongs to, such as a speaker; None where that is not known.
    """

    path: Path
    name: str
    label: str | None = None
    group: str | None = None


def is_file_of(path: Path, endings: Collection[str]) -> bool:
    """Whether a file is called as files of a kind are.

    Example:
        >>> is_file_of(Path("a.WAV"), {".wav"})
        True
    """
    return path.suffix.lower() in endings


def hidden(file: Path, folder: Path) -> bool:
    """Whether a file lies in a hidden folder within this one, or is hidden itself."""
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def are_listed(path: Path, endings: Collection[str]) -> bool:
    r"""Whether most lines of a file have a cell that names a file of a kind.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "list.tsv"
        >>> _ = file.write_text("path\tlabel\naudio/a.flac\tone\n")
        >>> are_listed(file, {".flac"})
        True
    """
    if not path.is_file():  # what is piped in is read once
        return False
    try:
        rows = [line.split("\t") for line in islice(read_lines(path), _LOOKED_AT) if line.strip()]
    except DataError:  # whoever reads it will tell
        return False
    rows = rows[1:] if rows and _is_header(rows[0]) else rows
    # Most of them: a text may end in "song.mp3", and a recording may be called otherwise.
    return 2 * sum(any(is_file_of(Path(cell.strip()), endings) for cell in row) for row in rows) > len(rows)


def read_listing(path: Path, called: Sequence[str] = LABEL, *, what: str = "recording") -> list[ListedFile]:
    r"""The files of a list, one a line: a path from where the list lies, then the label and a group, by tabs.

    Args:
        path: of the list. Where its first line has a column such as ``path`` or ``file``, columns are found by name.
        called: what the column of the labels may be called then; the first is its name in messages.
        what: one of the files is called in messages.

    Raises:
        DataError: a line has more cells than columns or no path; a file stands in the list twice; there is none; it is
            no text.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "list.tsv"
        >>> _ = file.write_text("a.png\tthe cat\nb.png\ta dog\n")
        >>> [(found.name, found.label) for found in read_listing(file, TEXT)]
        [('a.png', 'the cat'), ('b.png', 'a dog')]
    """
    if is_binary(path):
        raise DataError(f"{path} is no {what} by its name, and no list of them, for it holds no text.")
    found: dict[Path, ListedFile] = {}
    # By where they lead: `a.png` and `./a.png` are one file.
    real: set[str] = set()
    columns = {"path": 0, "label": 1, "group": 2}
    most = len(columns)
    for number, line in enumerate(read_lines(path), 1):
        where, cells = f"{spoken(path)}, line {number}", [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if number == 1 and _is_header(cells):
            columns, most = _named(cells, called, where), len(cells)
            continue
        given = {name: cells[at] or None for name, at in columns.items() if at < len(cells)}
        name = given.pop("path", None)
        if len(cells) > most or name is None:
            raise DataError(
                f"{where}: a line is a path, a {called[0]} and a group, separated by tabs; {line[:60]!r} is not."
            )
        if "\r" in line:
            raise DataError(
                f"{where}: a carriage return stands within it. End lines with a line feed (sed 's/\\r/\\n/g')."
            )
        file = path.parent / name
        if realpath(file) in real:
            raise DataError(f"{where}: {name} stands in the list already. Name each {what} once.")
        real.add(realpath(file))
        found[file] = ListedFile(file, name, **given)
    if not found:
        raise DataError(f"{spoken(path)} names no {what}.")
    return list(found.values())


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a column of paths is named, and what else stands there is none of a first line: a text may be "file"."""
    small = [cell.strip().lower() for cell in cells]
    if not any(cell in _PATHS for cell in small):
        return False
    return len(small) == 1 or any(cell in (*LABEL, *TEXT, *_GROUPS) for cell in small) or "." not in "".join(small)


def _named(cells: Sequence[str], called: Sequence[str], where: str) -> dict[str, int]:
    """Where each column is, by the names in the first line; others are passed over."""
    small = [cell.lower() for cell in cells]
    # Of two that would do the one that is named first above, so it is written last.
    names = {"path": _PATHS, "label": called, "group": _GROUPS}
    found = {name: small.index(known) for name, each in names.items() for known in reversed(each) if known in small}
    if "label" not in found and len(cells) > 1:
        told = ", ".join(cells)
        raise DataError(
            f"{where}: of the columns {told:.120} none is called {called[0]}. Call the column of the {called[0]}s so."
        )
    return found

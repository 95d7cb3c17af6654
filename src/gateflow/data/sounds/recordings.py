"""Which recordings there are, and what is said in each: a folder for each class, or a list in a file.

digits/one/anna.wav             train.tsv:   audio/anna-1.wav <tab> one <tab> anna
digits/two/anna.wav                          path, label, and if there is one, a group: the speaker
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gateflow.data.source import spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["Recording", "are_sounds", "recordings"]

_ENDINGS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})
# libsndfile does not read these. They are recordings all the same, to be told of and not passed over.
_UNREADABLE = frozenset({".m4a", ".aac", ".wma", ".amr", ".ape"})
# What the columns of a list are called where its first line names them.
_NAMES = {
    "path": ("path", "file", "filename", "audio"),
    "label": ("label", "class"),
    "group": ("group", "speaker", "speaker_id", "client_id"),
}
# Lines that are looked at to tell a list of recordings from other tables.
_LOOKED_AT = 50


@dataclass(frozen=True)
class Recording:
    """A file with sound.

    Attributes:
        path: of the file.
        name: the path as it was written: in a list from where the list lies.
        label: what it is; None where only files are known.
        group: who or what it belongs to, such as a speaker; None where that is not known.
    """

    path: Path
    name: str
    label: str | None = None
    group: str | None = None


def recordings(path: str | Path) -> list[Recording]:
    r"""All recordings of a folder or a list.

    Args:
        path: a folder whose folders are classes and hold the files, at any depth; a folder of files without labels; or
            a list, one recording a line: its path, from where the list lies, then its label and its group, separated by
            tabs. Where the first line has a column ``path`` or ``file``, ``label`` (``class``) and ``group``
            (``speaker``) are found by their names. Or one file with sound. Hidden files are passed over.

    Raises:
        DataError: nothing is there; a line has more cells than columns or no path; a file stands in a list twice; a
            folder holds files beside folders, so that they have no class.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "list.tsv").write_text("a.wav\tone\tanna\nb.wav\ttwo\tanna\n")
        >>> [(found.name, found.label, found.group) for found in recordings(folder / "list.tsv")]
        [('a.wav', 'one', 'anna'), ('b.wav', 'two', 'anna')]
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _of_folder(path)
    except OSError as error:
        raise DataError(f"{path} cannot be looked through: {error.strerror}.") from error
    return [Recording(path, str(path))] if _sounds(path) else _of_list(path)


def are_sounds(path: str | Path) -> bool:
    r"""Whether these are sounds, and no texts or numbers: a folder, a file that is called as sounds are, or a list.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "list.tsv"
        >>> _ = file.write_text("path\tlabel\naudio/a.flac\tone\n")
        >>> are_sounds("a.wav"), are_sounds(file), are_sounds("films.tsv")
        (True, True, False)
    """
    path = Path(path)
    if _sounds(path) or path.is_dir():
        return True
    if not path.is_file():  # what is piped in is read once
        return False
    try:
        rows = [line.split("\t") for line in islice(read_lines(path), _LOOKED_AT) if line.strip()]
    except DataError:  # whoever reads it will tell
        return False
    rows = rows[1:] if rows and _is_header(rows[0]) else rows
    # Most of them: a text may end in "song.mp3", and a recording may be called otherwise.
    return 2 * sum(any(_sounds(Path(cell.strip())) for cell in row) for row in rows) > len(rows)


def _is_header(cells: Sequence[str]) -> bool:
    return any(cell.strip().lower() in _NAMES["path"] for cell in cells)


def _sounds(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS | _UNREADABLE


def _of_folder(folder: Path) -> list[Recording]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    filed = [Recording(file, str(file), each.name) for each in folders for file in _within(each)]
    loose = [Recording(entry, str(entry)) for entry in entries if _sounds(entry) and not entry.is_dir()]
    if filed and loose:
        raise DataError(
            f"{loose[0].path} lies beside the folders of the classes ({filed[0].label!r} …) and has no class. Move it "
            "into a folder of its class, or out of this one."
        )
    if not filed and not loose:
        wanted = ", ".join(sorted(_ENDINGS))
        raise DataError(f"{folder} holds no sounds ({wanted}); a folder for each class is expected.")
    return filed or loose


def _within(folder: Path) -> Iterator[Path]:
    """Files with sound at any depth; a link that leads nowhere is one, so that it is told of."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if _sounds(file) and not hidden and not file.is_dir():
            yield file


def _of_list(path: Path) -> list[Recording]:
    found: dict[Path, Recording] = {}
    columns = dict(zip(_NAMES, range(len(_NAMES)), strict=True))
    most = len(_NAMES)
    for number, line in enumerate(read_lines(path), 1):
        where, cells = f"{spoken(path)}, line {number}", [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if number == 1 and _is_header(cells):
            columns, most = _named(cells, where), len(cells)
            continue
        given = {name: cells[at] or None for name, at in columns.items() if at < len(cells)}
        name = given.pop("path", None)
        if len(cells) > most or name is None:
            raise DataError(f"{where}: a line is a path, a label and a group, separated by tabs; {line[:60]!r} is not.")
        file = path.parent / name
        if file in found:
            raise DataError(f"{where}: {name} stands in the list already. Name each recording once.")
        found[file] = Recording(file, name, **given)
    if not found:
        raise DataError(f"{spoken(path)} names no recording.")
    return list(found.values())


def _named(cells: Sequence[str], where: str) -> dict[str, int]:
    """Where each column is, by the names in the first line; others are passed over."""
    small = [cell.lower() for cell in cells]
    # Of two that would do the one that is named first above, so it is written last.
    found = {name: small.index(known) for name, names in _NAMES.items() for known in reversed(names) if known in small}
    if "label" not in found and len(cells) > 1:
        told = ", ".join(cells)
        raise DataError(f"{where}: of the columns {told:.120} none is called label. Call the column of the labels so.")
    return found

"""Which recordings there are, and what is said in each: a folder for each class, or a list in a file.

digits/one/anna.wav             train.tsv:   audio/anna-1.wav <tab> one <tab> anna
digits/two/anna.wav                          path, label, and if there is one, a group: the speaker
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gateflow.data.listing import ListedFile, are_listed, hidden, is_file_of, read_listing
from gateflow.errors import DataError

__all__ = ["SOUNDS", "are_sounds", "recordings"]

_ENDINGS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})
# libsndfile does not read these. They are recordings all the same, to be told of and not passed over.
_UNREADABLE = frozenset({".m4a", ".aac", ".wma", ".amr", ".ape"})
SOUNDS = _ENDINGS | _UNREADABLE
"""How files with sound are called."""


def recordings(path: str | Path) -> list[ListedFile]:
    r"""All recordings of a folder or a list.

    Args:
        path: a folder whose folders are classes and hold the files, at any depth; a folder of files without labels; or
            a list, see `gateflow.data.listing.read_listing`. Or one file with sound. Hidden files are passed over.

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
    return [ListedFile(path, str(path))] if is_file_of(path, SOUNDS) else read_listing(path)


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
    return is_file_of(path, SOUNDS) or path.is_dir() or are_listed(path, SOUNDS)


def _of_folder(folder: Path) -> list[ListedFile]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in entries if entry.is_dir()]
    filed = [ListedFile(file, str(file), each.name) for each in folders for file in _within(each)]
    loose = [ListedFile(x, str(x)) for x in entries if is_file_of(x, SOUNDS) and not x.is_dir()]
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
        if is_file_of(file, SOUNDS) and not hidden(file, folder) and not file.is_dir():
            yield file

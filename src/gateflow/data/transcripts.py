"""Which files there are and what is written or spoken in each: a list, or a text file beside each of them.

train.tsv:  lines/a.png <tab> the text of it            page/line-01.png
            lines/b.png <tab> and of this               page/line-01.gt.txt
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from gateflow.data.listing import TEXT, ListedFile, hidden, is_file_of, read_listing
from gateflow.errors import DataError
from gateflow.files import read_bounded

__all__ = ["plain", "transcripts"]

# What programs that read print call pictures that they have made of one: `x.bin.png` and `x.nrm.png` of `x.png`, their
# texts in `x.gt.txt`.
_MADE_OF = frozenset({".bin", ".nrm", ".dew"})
# Bytes of the text of one line or recording.
_MOST_BYTES = 1 << 20


def plain(text: str) -> str:
    """A text as it is learnt, compared and answered: NFC, each white space one space, none at the ends.

    Example:
        >>> plain("  cafe\\u0301\\tau lait ")
        'café au lait'
    """
    return " ".join(normalize("NFC", text).split())


def transcripts(path: Path, endings: Collection[str], *, what: str) -> list[ListedFile]:
    """All files of a list or folder with their texts as labels; those without a text have none.

    Args:
        path: a list, see `gateflow.data.listing.read_listing`; or a folder with files at any depth, and the text of
            ``x.png`` in ``x.gt.txt`` or ``x.txt`` beside it, which is that of ``x.bin.png``, ``x.nrm.png`` or
            ``x.dew.png`` too where there is no ``x.png``; or one such file.
        endings: of the files, such as ``{".png"}``.
        what: one of them is called in messages.

    Raises:
        DataError: nothing is there, or a text is no UTF-8.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.png").write_bytes(b""), (folder / "a.gt.txt").write_text("the cat\\n")
        >>> [(found.path.name, found.label) for found in transcripts(folder, {".png"}, what="image")]
        [('a.png', 'the cat')]
    """
    try:
        if path.is_dir():
            files = sorted(x for x in path.rglob("*") if is_file_of(x, endings) and not hidden(x, path))
            found = [_with_text(file) for file in files if not file.is_dir()]
            if not found:
                raise DataError(f"{path} holds no {what} ({', '.join(sorted(endings))}).")
            return found
    except OSError as error:
        raise DataError(f"{path} cannot be looked through: {error.strerror}.") from error
    found = [_with_text(path)] if is_file_of(path, endings) else read_listing(path, TEXT, what=what)
    return [replace(x, label=x.label and plain(x.label)) for x in found]


def _with_text(file: Path) -> ListedFile:
    for stem in _stems(file):
        for ending in (".gt.txt", ".txt"):
            if (beside := file.with_name(stem + ending)).is_file():
                return ListedFile(file, str(file), _text_of(beside))
    return ListedFile(file, str(file))


def _stems(file: Path) -> Iterator[str]:
    """What files with the text of a picture may be called, the likeliest first."""
    yield file.stem
    # Not of any name with a dot: `page.2.png` has nothing to do with `page.gt.txt`.
    stem = Path(file.stem)
    if stem.suffix in _MADE_OF and not file.with_name(stem.stem + file.suffix).exists():
        yield stem.stem


def _text_of(file: Path) -> str:
    try:
        return plain(read_bounded(file, _MOST_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a text in UTF-8 ({error!s:.120}).") from None

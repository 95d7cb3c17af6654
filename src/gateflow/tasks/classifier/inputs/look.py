"""What the examples of a file are, found by looking at its beginning."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from gateflow.data.labelled import TEXTS
from gateflow.data.series.arrays import NPY, ZIP
from gateflow.data.series.idx import IDX
from gateflow.data.series.series import is_number_or_missing
from gateflow.data.series.table import LABELS, SEPARATORS, SERIES, TIMES
from gateflow.data.series.ts import COMMENTS, TAGS
from gateflow.data.sounds.recordings import are_sounds
from gateflow.data.source import beginning

__all__ = ["kind_of"]

# Bytes that hold the header of a table, though it may have thousands of columns, and its first row.
_LOOKED_AT = 1 << 20
_BYTE_ORDER_MARK = "\ufeff"


def kind_of(path: Path, *, asks_for_texts: bool = False, columns: Collection[str] = ()) -> str:
    """``text``, ``series`` or ``sound``.

    A folder, a file with sound and a list of such files are sounds. Series are ``.ts``, NumPy's files, IDX images, and
    tables whose header names a series or a time, whose other columns hold numbers. All else is text, also what cannot
    be looked at twice.

    Args:
        path: of any file; one that is missing is told by whoever reads it.
        asks_for_texts: a column of texts was named.
        columns: others that were named, which need hold no numbers.

    Raises:
        DataError: damaged gzip data.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "load.csv"
        >>> _ = file.write_text("series,load,label\\na,0.5,high\\n")
        >>> kind_of(file), kind_of(Path("films.tsv"))
        ('series', 'text')
    """
    if asks_for_texts:
        return "text"
    if are_sounds(path):
        return "sound"
    if not path.is_file():
        return "text"
    first = beginning(path, _LOOKED_AT)
    if first.startswith((NPY, ZIP, IDX)):
        return "series"
    lines = [line for line in first.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK).splitlines() if line.strip()]
    header = next((line for line in lines if not line.startswith(COMMENTS)), "")
    if header.split() and header.split()[0].lower() in TAGS:
        return "series"
    return "series" if _is_table_of_series(lines, columns) else "text"


def _is_table_of_series(lines: list[str], columns: Collection[str]) -> bool:
    separator = max(SEPARATORS, key=lines[0].count) if lines else ","
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines[:2], delimiter=separator)]
    except csv.Error:  # a cell that no number fills
        return False
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        return False
    names = [name.lower() for name in rows[0]]
    known = {*SERIES, *TIMES, *LABELS, *map(str.lower, columns)}
    return (
        not set(names) & set(TEXTS)
        and bool(set(names) & {*SERIES, *TIMES})
        # `id,review,label` is a table of texts.
        and all(is_number_or_missing(cell) for name, cell in zip(names, rows[1], strict=True) if name not in known)
    )

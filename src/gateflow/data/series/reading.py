"""Which format a file of series has is found by looking at its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from gateflow.data.series.arrays import NPY, ZIP, read_arrays
from gateflow.data.series.idx import IDX, Order, read_idx
from gateflow.data.series.series import Series
from gateflow.data.series.table import Columns, read_table
from gateflow.data.series.ts import COMMENTS, read_ts
from gateflow.data.source import STDIN, beginning, require
from gateflow.errors import DataError

__all__ = ["Format", "format_of", "read_series"]

# A file of text may begin with a byte order mark and empty lines.
_LOOKED_AT = 64


def read_series(
    path: str | Path,
    *,
    columns: Columns | None = None,
    labels: Path | None = None,
    order: Order = "rows",
    seed: int = 0,
) -> Iterator[Series]:
    r"""Yield the series of a file: ``.ts``, CSV in long form, NumPy's ``.npz`` and ``.npy``, or IDX images.

    All series have the same channels.

    Args:
        path: the file; text and IDX may be gzip.
        columns: of a table, which of them hold what.
        labels: of IDX images, their file.
        order, seed: of IDX images, what a step is.

    Raises:
        DataError: the file cannot be read as what it seems to be, or series have different numbers of channels.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "two.csv"
        >>> _ = file.write_text("series,x,y,label\na,1,2,up\na,3,,up\nb,5,6,down\n")
        >>> [(series.name, series.label, series.values.tolist()) for series in read_series(file)]
        [('a', 'up', [[1.0, 2.0], [3.0, nan]]), ('b', 'down', [[5.0, 6.0]])]
    """
    path = Path(path)
    return _alike(_read(path, columns or Columns(), labels, order, seed), path)


Format = Literal["arrays", "images", "ts", "table"]


def format_of(path: Path) -> Format:
    """What a file of series is, by its first bytes.

    Raises:
        DataError: it cannot be read.
    """
    if path == STDIN:  # what is piped in is taken once, and is text
        return "table"
    require(path)
    first = beginning(path, _LOOKED_AT)
    if first.startswith((NPY, ZIP)):
        return "arrays"
    if first.startswith(IDX):
        return "images"
    return "ts" if first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1].decode("latin-1") in ("@", *COMMENTS) else "table"


def _read(path: Path, columns: Columns, labels: Path | None, order: Order, seed: int) -> Iterator[Series]:
    match format_of(path):
        case "arrays":
            yield from read_arrays(path)
        case "images":
            yield from read_idx(path, labels, order, seed)
        case "ts":
            yield from read_ts(path)
        case "table":
            yield from read_table(path, columns)


def _alike(found: Iterator[Series], path: Path) -> Iterator[Series]:
    first = next(found, None)
    if first is None:
        return
    for series in chain([first], found):
        if series.channels != first.channels:
            raise DataError(
                f"{path}, {series.place}: {series.channels} channels, and {first.channels} in {first.place}. "
                "All series have the same channels."
            )
        if _kind_of_times(series) != _kind_of_times(first):
            raise DataError(
                f"{path}, {series.place}: its times are {_kind_of_times(series)}, and {_kind_of_times(first)} in "
                f"{first.place}. Write all times alike."
            )
        yield series


def _kind_of_times(series: Series) -> str:
    return "none" if series.times is None else "dates" if series.times.dtype.kind == "M" else "numbers"

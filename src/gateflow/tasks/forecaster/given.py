"""Series that are given in Python: arrays, dictionaries of them by name, and pandas' series and data frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateflow.data.series import Series, read_series
from gateflow.data.series.series import checked
from gateflow.data.series.table import SERIES, TIMES, Columns
from gateflow.errors import DataError

__all__ = ["Given", "series_of"]

Given = str | Path | ArrayLike | Mapping[Any, ArrayLike]

# Columns that an index becomes; a name that no column of a frame has.
_OF_INDEX, _OF_SERIES = "the index", "the series"


def series_of(given: Given, called: str, columns: Columns | None = None) -> list[Series]:
    """The series in a file, an array ``[T]`` or ``[T, channels]``, a dictionary of these, or a frame of pandas.

    Args:
        given: any of these. An index of dates or numbers is the times of a frame, a level before it the series; one
            that only counts the rows is neither.
        called: the argument, for messages.
        columns: of a file or a frame, which of them hold what.

    Raises:
        DataError: there is no series; or one cannot be read as numbers.

    Example:
        >>> [(series.name, series.values.shape) for series in series_of({"a": [1, 2, 3], "b": [4, None]}, "y")]
        [('a', (3, 1)), ('b', (2, 1))]
    """
    columns = columns or Columns(labelled=False)
    if isinstance(given, str | Path):
        return list(read_series(given, columns=columns))
    if not isinstance(given, Mapping):
        return _of_one(given, called, columns)
    _refuse_names([str(name) for name in given], called)
    found = [_named(_of_one(each, f"{called}[{name!r}]", columns), str(name), called) for name, each in given.items()]
    if len({each.channels for each in found}) > 1:
        raise DataError(f"{called}: the series have different numbers of channels; give each the same.")
    return found


def _of_one(given: Any, called: str, columns: Columns) -> list[Series]:
    """One array, or a frame, which may hold several series."""
    if hasattr(given, "to_csv") and hasattr(given, "index"):
        return _of_frame(given, called, columns)
    values = _matrix(given, called)
    names = tuple(str(channel + 1) for channel in range(values.shape[1]))
    return [Series(checked(values, called), "its rows", channel_names=names)]


def _named(found: list[Series], name: str, called: str) -> Series:
    if len(found) != 1:
        raise DataError(f"{called}[{name!r}] holds {len(found)} series; give each by a name of its own.")
    (series,) = found
    return replace(series, place=f"series {name!r:.40}", name=name)


def _refuse_names(names: list[str], called: str) -> None:
    """What the lines of forecasts could not tell apart."""
    if not names:
        raise DataError(f"{called} holds no series; give at least one.")
    for name in names:
        if names.count(name) > 1 or not name or name != name.strip() or any(mark in name for mark in "\r\n\t"):
            raise DataError(
                f"{name!r:.60} is no name of a series: names differ, and are one line without spaces around."
            )


def _matrix(given: ArrayLike, called: str) -> NDArray[np.float64]:
    try:
        # What a mask hides is missing, and not what happens to lie below it.
        array = np.ma.filled(given.astype(np.float64), np.nan) if isinstance(given, np.ma.MaskedArray) else given
        # NumPy would count the microseconds of dates.
        kind = "no" if np.asarray(array).dtype.kind in "cmM" else "unsafe"
        found = np.asarray(array).astype(np.float64, casting=kind)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{called}: a series is an array of numbers, and this is none ({error!s:.80}).") from None
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise DataError(
            f"{called}: a series is an array [steps] or [steps, channels], and this has the shape {list(found.shape)}. "
            "Give several series as a dictionary."
        )
    return found


def _of_frame(given: Any, called: str, columns: Columns) -> list[Series]:
    """The series of a frame, by way of the table that it would be written as."""
    # A series by itself has one channel, whatever it is called; so has an array.
    frame, columns = _with_index(given if hasattr(given, "columns") else given.to_frame("1"), columns)
    with TemporaryDirectory() as folder:
        file = Path(folder, "table.csv")
        frame.to_csv(file, index=False)
        with _in_place_of(file, called):
            return list(read_series(file, columns=columns))


def _with_index(given: Any, columns: Columns) -> tuple[Any, Columns]:
    """A frame with columns that are texts, truths as 0 and 1, and what its index says as columns."""
    names = ["/".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in given]
    frame = given.set_axis(names, axis=1)
    frame = frame.astype({name: float for name, kind in frame.dtypes.items() if str(kind) in ("bool", "boolean")})
    levels = [given.index.get_level_values(level) for level in range(given.index.nlevels)]
    *above, last = [level.to_timestamp() if hasattr(level, "to_timestamp") else level for level in levels]
    named = {name.lower() for name in frame}
    if above and not columns.series:
        frame.insert(0, _OF_SERIES, ["/".join(map(str, row)) for row in zip(*above, strict=True)])
        columns = replace(columns, series=_OF_SERIES)
    # Rows of a long table are often counted in its index, or keep numbers that they had before others were taken away.
    counted = last.dtype.kind in "iu" and (type(last).__name__ == "RangeIndex" or bool(named & {*SERIES, *TIMES}))
    if not counted and not columns.time:
        frame.insert(0, _OF_INDEX, last)
        columns = replace(columns, time=_OF_INDEX)
    return frame, columns


@contextmanager
def _in_place_of(file: Path, called: str) -> Iterator[None]:
    """Within the block errors name the argument, and no file that is gone."""
    try:
        yield
    except DataError as error:
        error.args = (str(error).replace(str(file), called),)
        raise

"""When the steps of a series were: numbers as they are, or dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import DataError

__all__ = ["Moments", "in_utc", "moments", "of_day", "rising"]

Moments = NDArray[Any]
"""float64, or datetime64 in microseconds: of the clock that they were written by, or UTC."""

_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def moments(cells: Sequence[str], where: str) -> Moments:
    """Times out of text: all numbers, or all dates in the form of ISO 8601.

    Dates with an offset such as ``+01:00`` become UTC. Of those that all are at one hour of the local clock, a value a
    day or a month, the local date is taken: where the clock is put forward, days have 23, 24 or 25 hours.

    Raises:
        DataError: one is neither, or they are not all of one kind; some dates have an offset and others have none.

    Example:
        >>> moments(["0.5", "2"], "x"), moments(["1970-01-02 00:01:00"], "x").astype("datetime64[s]")
        (array([0.5, 2. ]), array(['1970-01-02T00:01:00'], dtype='datetime64[s]'))
    """
    if all(_DAY.fullmatch(cell.strip()) for cell in cells):
        # 20240131 is a day, and no number: the next one is not 20240132.
        return _dates(cells, where)
    try:
        found = np.array(cells, dtype=np.float64)
    except ValueError:
        # The first that is no number tells what is wrong: a date among numbers, or neither.
        _date(next(cell for cell in cells if not _is_number(cell)).strip(), where)
        return _dates(cells, where)
    if not np.isfinite(found).all():
        raise DataError(f"{where}: a time is missing or infinite. Each step has one, or none has.")
    return found


def rising(times: Moments, where: str) -> Moments:
    """The times again, if each is at least as late as the one before.

    Raises:
        DataError: one is earlier.
    """
    if len(early := np.flatnonzero(times[1:] < times[:-1])):
        step = int(early[0]) + 2
        raise DataError(f"{where}: step {step} is earlier than the one before it. Sort the steps by their time.")
    return times


def in_utc(cell: str, moment: Any) -> bool:
    """Whether `moments` has turned this text, with its offset, into UTC.

    Example:
        >>> cells = ["2026-01-01T08:00+01:00", "2026-01-01T09:00+01:00"]
        >>> in_utc(cells[0], moments(cells, "x")[0])
        True
    """
    if not isinstance(moment, np.datetime64):
        return False
    found = _date(cell.strip(), "")
    return found.tzinfo is not None and bool(_utc(found) == moment)


def of_day(times: Any) -> Any:
    """How long after midnight each of some dates is."""
    return times - times.astype("datetime64[D]")


def _dates(cells: Sequence[str], where: str) -> Moments:
    found = [_date(cell.strip(), where) for cell in cells]
    offsets = {date.utcoffset() for date in found}
    if None in offsets and len(offsets) > 1:
        raise DataError(
            f"{where}: some dates have an offset such as +01:00, and others have none. Give all or none one."
        )
    local = np.array([date.replace(tzinfo=None) for date in found], dtype="datetime64[us]")
    if None in offsets or len(np.unique(of_day(local))) == 1:
        return local
    return np.array([_utc(date) for date in found])


def _utc(date: datetime) -> np.datetime64:
    return np.datetime64(date.astimezone(UTC).replace(tzinfo=None), "us")


def _date(cell: str, where: str) -> datetime:
    try:
        found = datetime.fromisoformat(cell)
        if found.tzinfo:
            found.astimezone(UTC)  # beyond the year 9999 there is none
    except (ValueError, OverflowError):
        raise DataError(
            f"{where}: {cell!r:.40} is no time. Write numbers, or dates such as 2026-11-27 or 2026-11-27T08:30:00."
        ) from None
    return found


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

"""When the steps of a series were: numbers as they are, or dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import DataError

__all__ = ["Moments", "moments", "rising"]

Moments = NDArray[Any]
"""float64, or datetime64 in microseconds, UTC."""

_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def moments(cells: Sequence[str], where: str) -> Moments:
    """Times out of text: all numbers, or all dates in the form of ISO 8601, in UTC unless they say otherwise.

    Raises:
        DataError: one is neither, or they are not all of one kind.

    Example:
        >>> moments(["0.5", "2"], "x"), moments(["1970-01-02 00:01:00"], "x").astype("datetime64[s]")
        (array([0.5, 2. ]), array(['1970-01-02T00:01:00'], dtype='datetime64[s]'))
    """
    if all(_DAY.fullmatch(cell.strip()) for cell in cells):
        # 20240131 is a day, and no number: the next one is not 20240132.
        return np.array([_date(cell.strip(), where) for cell in cells])
    try:
        found = np.array(cells, dtype=np.float64)
    except ValueError:
        # The first that is no number tells what is wrong: a date among numbers, or neither.
        _date(next(cell for cell in cells if not _is_number(cell)).strip(), where)
        return np.array([_date(cell.strip(), where) for cell in cells])
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


def _date(cell: str, where: str) -> np.datetime64:
    try:
        found = datetime.fromisoformat(cell)
        found = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):  # beyond the year 9999 in UTC
        raise DataError(
            f"{where}: {cell!r:.40} is no time. Write numbers, or dates such as 2026-11-27 or 2026-11-27T08:30:00."
        ) from None
    return np.datetime64(found, "us")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

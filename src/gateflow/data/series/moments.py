"""When the steps of a series were: numbers as they are, dates as seconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import DataError

__all__ = ["moments", "rising"]


def moments(cells: Sequence[str], where: str) -> NDArray[np.float64]:
    """Times out of text: all numbers, or all dates in the form of ISO 8601, in UTC unless they say otherwise.

    Raises:
        DataError: one is neither, or they are not all of one kind.

    Example:
        >>> moments(["0.5", "2"], "x"), moments(["1970-01-02", "1970-01-02 00:01:00"], "x")
        (array([0.5, 2. ]), array([86400., 86460.]))
    """
    try:
        found = np.array(cells, dtype=np.float64)
    except ValueError:
        # The first that is no number tells what is wrong: a date among numbers, or neither.
        _date(next(cell for cell in cells if not _is_number(cell)).strip(), where)
        return np.array([_date(cell.strip(), where) for cell in cells], dtype=np.float64)
    if not np.isfinite(found).all():
        raise DataError(f"{where}: a time is missing or infinite. Each step has one, or none has.")
    return found


def rising(times: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """The times again, if each is at least as late as the one before.

    Raises:
        DataError: one is earlier.
    """
    if len(early := np.flatnonzero(np.diff(times) < 0)):
        step = int(early[0]) + 2
        raise DataError(f"{where}: step {step} is earlier than the one before it. Sort the steps by their time.")
    return times


def _date(cell: str, where: str) -> float:
    try:
        found = datetime.fromisoformat(cell)
    except ValueError:
        raise DataError(
            f"{where}: {cell!r:.40} is no time. Write numbers, or dates such as 2026-11-27 or 2026-11-27T08:30:00."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

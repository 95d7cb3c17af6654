"""What a date says of itself: the hour, the weekday and the day of the year, each as a point on a circle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CALENDAR", "calendar"]

CALENDAR = 6
"""Numbers for a date."""
_DAYS_OF_A_YEAR = 365.2425


def calendar(times: NDArray[Any]) -> NDArray[np.float32]:
    """Sine and cosine of the time of day, of the week and of the year, ``[T, 6]``.

    Example:
        >>> midnight = calendar(np.array(["2026-01-01"], dtype="datetime64[us]"))
        >>> midnight.shape, midnight[0, :2].tolist()
        ((1, 6), [0.0, 1.0])
    """
    days = times.astype("datetime64[D]")
    of_day = (times - days) / np.timedelta64(1, "D")
    of_week = (days.astype(np.int64) + of_day) / 7
    of_year = ((days - times.astype("datetime64[Y]")) / np.timedelta64(1, "D") + of_day) / _DAYS_OF_A_YEAR
    turns = 2 * np.pi * np.stack([of_day, of_week, of_year], axis=1)
    return np.stack([np.sin(turns), np.cos(turns)], axis=2).reshape(len(times), CALENDAR).astype(np.float32)

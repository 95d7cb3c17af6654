"""The seasonal naive forecast, from which the network's forecasts depart: what it was one season ago.

    naive[t + k] = y[t + k - m ⌈k / m⌉]          m: steps of a season; of m = 1 the last value

Hyndman and Athanasopoulos 2021, "Forecasting: principles and practice", section 5.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["carried_forward", "naive", "typical_error"]

Numbers = NDArray[np.float32]


def carried_forward(y: Numbers, season: int, seen: int | None = None) -> Numbers:
    """The values with each missing one as it was a season before; the mean of what is known where there is none.

    Args:
        y: ``[T, N]``.
        season: steps.
        seen: steps from the first of which the mean may be; all if not given.

    Example:
        >>> carried_forward(np.array([[1.0], [2.0], [np.nan], [4.0]], dtype=np.float32), season=2).ravel()
        array([1., 2., 1., 4.], dtype=float32)
    """
    known = np.isfinite(y)
    # Mean of none is none: such a target is zero everywhere, and counts nowhere.
    mean = np.where(known, y, 0)[:seen].sum(axis=0, dtype=np.float64) / np.maximum(known[:seen].sum(axis=0), 1)
    found = np.where(known, y, np.nan).astype(np.float32)
    for t in range(len(y)):
        before = found[t - season] if t >= season else mean
        found[t] = np.where(known[t], found[t], before)
    return found


def naive(filled: Numbers, season: int, horizon: int) -> Numbers:
    """Forecasts from every step on, ``[T, horizon, N]``, out of `carried_forward` values ``[T, N]``.

    Where less than a season is known yet it is the last value.

    Example:
        >>> naive(np.array([[1.0], [2.0], [3.0]], dtype=np.float32), season=2, horizon=3)[..., 0]
        array([[1., 1., 1.],
               [1., 2., 1.],
               [2., 3., 2.]], dtype=float32)
    """
    steps = np.arange(len(filled))[:, None]
    ahead = np.arange(1, horizon + 1)
    source = steps + ahead - season * -(-ahead // season)
    return filled[np.where(source >= 0, source, steps)]


def typical_error(y: Numbers, season: int) -> Numbers:
    """The mean distance of a value from the one a season before, ``[N]``: the divisor of MASE.

    That to the step before where no such pair is known; 1 where nothing ever changes.

    Hyndman and Koehler 2006, "Another look at measures of forecast accuracy".
    """
    found = np.full(y.shape[1], np.nan, dtype=np.float32)
    for lag in (season, 1):
        if len(y) > lag:
            distance = np.abs(y[lag:] - y[:-lag])
            known = np.isfinite(distance)
            mean = np.where(known, distance, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
            found = np.where(np.isnan(found) & known.any(axis=0) & (mean > 0), mean, found)
    return np.where(np.isnan(found), 1, found).astype(np.float32)

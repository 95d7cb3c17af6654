"""How far apart the steps of a series are, so that those left out can be found and those to come be named."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.moments import Moments, of_day
from gateflow.data.series.series import Series
from gateflow.errors import DataError

__all__ = ["Spacing", "evenly", "spacing_of"]

# What is more than a hundred times as long with the steps that are left out has other times than it seems.
MOST_FOLD = 100
# Of numbers as text: 0.1 + 0.2 is not 0.3.
_TOLERANCE = 1e-6
# However long a series is: a step that lies farther from its place is at another one.
_MOST_OFF = 0.05


@dataclass(frozen=True)
class Spacing:
    """From one step to the next.

    Attributes:
        step: a number; for dates a timedelta64, or a number of months.
        months: whether it is one of months, which are not equally long.
        at_ends: whether dates are the last days of their months.
        day: of the month, where they are not.
    """

    step: Any
    months: bool = False
    at_ends: bool = False
    day: int = 1

    def places(self, times: Moments) -> NDArray[np.float64]:
        """How many steps each time lies after the first; whole numbers, if this is the spacing of the times."""
        if self.months:
            passed = times.astype("datetime64[M]").astype(np.int64)
            return (passed - passed[0]) / self.step
        return np.asarray((times - times[0]) / self.step, dtype=np.float64)

    def after(self, times: Moments, count: int) -> Moments:
        """The next `count` times.

        Example:
            >>> dates = np.array(["2026-01-31", "2026-02-28"], dtype="datetime64[us]")
            >>> [str(date)[:10] for date in spacing_of(dates).after(dates, 2)]
            ['2026-03-31', '2026-04-30']
        """
        last, ahead = times[-1], np.arange(1, count + 1)
        if not self.months:
            return np.asarray(last + ahead * self.step, dtype=times.dtype)
        months = last.astype("datetime64[M]") + ahead * self.step
        ends = (months + 1).astype("datetime64[D]") - 1
        # The 31st of a month that has none is its last day.
        days = ends if self.at_ends else np.minimum(months.astype("datetime64[D]") + (self.day - 1), ends)
        return (days + of_day(last)).astype(times.dtype)


def spacing_of(times: Moments) -> Spacing | None:
    """The spacing of times that rise, some of which may be left out; None if there is none.

    Example:
        >>> spacing_of(np.array([0.0, 0.5, 2.0])), spacing_of(np.array([0.0, 2.0, 5.0]))
        (Spacing(step=np.float64(0.5), months=False, at_ends=False, day=1), None)
    """
    if len(times) < 2 or not (smallest := np.diff(times).min()):
        return None
    if times.dtype.kind == "M" and (by_month := _months(times, smallest)):
        return by_month
    found = Spacing(smallest)
    places = found.places(times)
    off = np.abs(places - np.rint(places)).max()
    return found if off < min(_MOST_OFF, _TOLERANCE * max(1.0, float(places[-1]))) else None


def evenly(series: Series, where: str) -> tuple[Series, Spacing | None]:
    """The series with a step of missing values for each that is left out, and its spacing; None if steps are counted.

    Raises:
        DataError: two steps at one time; times without a spacing; or far more steps left out than there are.
    """
    times = series.times
    if times is None or len(times) < 2:
        return series, None
    if len(twice := np.flatnonzero(times[1:] == times[:-1])):
        remedy = "; or, where a clock was put back, write dates with their offset" if times.dtype.kind == "M" else ""
        raise DataError(
            f"{where}: steps {twice[0] + 1} and {twice[0] + 2} are at the same time. Leave one out{remedy}."
        )
    spacing = spacing_of(times)
    if spacing is None:
        raise DataError(
            f"{where}: its steps are not evenly spaced. Give one value a day, or an hour, or leave the column of times "
            "out; hours of a clock that is put forward in summer are even in UTC."
        )
    places = np.rint(spacing.places(times)).astype(np.int64)
    steps = int(places[-1]) + 1
    if (left_out := steps - len(times)) > MOST_FOLD * len(times):
        raise DataError(f"{where}: {left_out:,} steps are left out, and {len(times):,} are there. Is a time wrong?")
    values = np.full((steps, series.channels), np.nan, dtype=np.float32)
    values[places] = series.values
    whole = np.concatenate([times[:1], spacing.after(times[:1], steps - 1)])
    whole[places] = times  # as they were written
    return replace(series, values=values, times=whole), spacing


def _months(times: Moments, smallest: Any) -> Spacing | None:
    """Of dates that are all on one day of their month, or all on the last."""
    if smallest < np.timedelta64(28, "D"):
        return None
    days, month = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    of_month = (days - month).astype(np.int64) + 1
    lengths = ((month + 1).astype("datetime64[D]") - month).astype(np.int64)
    at_ends, day = bool((of_month == lengths).all()), int(of_month.max())
    # The 30th of February is its last day.
    if not (at_ends or (of_month == np.minimum(day, lengths)).all()) or len(np.unique(of_day(times))) > 1:
        return None
    return Spacing(int(np.diff(month.astype(np.int64)).min()), months=True, at_ends=at_ends, day=day)

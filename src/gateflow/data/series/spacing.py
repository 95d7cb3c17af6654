"""How far apart the steps of a series are, so that those left out can be found and those to come be named."""

from __future__ import annotations

import math
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
# Distances closer than this share of the smallest are one distance, but for rounding.
_ALIKE = 0.02
# Where fewer distances than this share are no multiples of the commonest, they are slips, and no finer grid.
_LEAST_FINER = 1 / 3
# Of numbers of different series, each rounded in its own way.
_SAME = 1e-4
_UNITS = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000))


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

    @property
    def length(self) -> tuple[float, str]:
        """How long a step is, and in what: numbers, microseconds or months."""
        if self.months:
            return float(self.step), "months"
        if isinstance(self.step, np.timedelta64):
            return float(self.step / np.timedelta64(1, "us")), "microseconds"
        return float(self.step), "numbers"

    @classmethod
    def of_length(cls, length: float, unit: str) -> Spacing:
        """The spacing of such steps; days of months are left open."""
        if unit == "microseconds":
            return cls(np.timedelta64(round(length), "us"))
        return cls(round(length), months=True) if unit == "months" else cls(length)

    def alike(self, other: Spacing) -> bool:
        """Whether steps are equally long, but for the rounding of numbers.

        Example:
            >>> Spacing(0.1).alike(Spacing(0.1 + 1e-9)), Spacing(1).alike(Spacing(1, months=True))
            (True, False)
        """
        (ours, unit), (theirs, of_other) = self.length, other.length
        return unit == of_other and math.isclose(ours, theirs, rel_tol=_SAME)

    def __str__(self) -> str:
        """In words.

        Example:
            >>> str(Spacing(np.timedelta64(90, "m"))), str(Spacing(3, months=True)), str(Spacing(0.5))
            ('90 minutes', '3 months', '0.5')
        """
        if self.months:
            return _counted(self.step, "month")
        if not isinstance(self.step, np.timedelta64):
            return f"{self.step:.6g}"
        passed = int(self.step / np.timedelta64(1, "us"))
        name, length = next((unit for unit in _UNITS if passed % unit[1] == 0), ("microsecond", 1))
        return _counted(passed // length, name)

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

    It is the distance that most steps have; a smaller one, of which all are multiples, if it is no slip.

    Example:
        >>> spacing_of(np.array([0.0, 0.5, 2.0])), spacing_of(np.array([0.0, 2.0, 5.0]))
        (Spacing(step=np.float64(0.5), months=False, at_ends=False, day=1), None)
    """
    if len(times) < 2 or not (smallest := np.diff(times).min()):
        return None
    if times.dtype.kind == "M" and (by_month := _months(times, smallest)):
        return by_month
    common, finer = Spacing(_commonest(times)), Spacing(smallest)
    if _fits(common, times):
        return common
    distances = np.diff(times) / common.step
    odd = np.abs(distances - np.rint(distances)) > _MOST_OFF
    # Of a grid that few steps ask for, most would be invented; where each has another distance there is no other one.
    sparse = len(times) < (float(finer.places(times)[-1]) + 1) / 2 and (np.abs(distances - 1) <= _ALIKE).mean() > 0.5
    return finer if odd.mean() >= _LEAST_FINER and not sparse and _fits(finer, times) else None


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
        raise DataError(f"{where}: {_why_not(times)}")
    places = np.rint(spacing.places(times)).astype(np.int64)
    steps = int(places[-1]) + 1
    if (left_out := steps - len(times)) > MOST_FOLD * len(times):
        raise DataError(f"{where}: {left_out:,} steps are left out, and {len(times):,} are there. Is a time wrong?")
    values = np.full((steps, series.channels), np.nan, dtype=np.float32)
    values[places] = series.values
    whole = np.concatenate([times[:1], spacing.after(times[:1], steps - 1)])
    whole[places] = times  # as they were written
    return replace(series, values=values, times=whole), spacing


def _fits(spacing: Spacing, times: Moments) -> bool:
    places = spacing.places(times)
    return bool(np.abs(places - np.rint(places)).max() < min(_MOST_OFF, _TOLERANCE * max(1.0, float(places[-1]))))


def _commonest(times: Moments) -> Any:
    """The distance between neighbours that most have; of several the smallest."""
    found = np.sort(np.diff(times))
    begins = np.flatnonzero(np.diff(found) > found[0] * _ALIKE) + 1
    most = max(np.split(found, begins), key=len)
    return most[len(most) // 2]


def _why_not(times: Moments) -> str:
    """What is wrong with times that have no spacing: some do not fall on the grid of the others; or there is none."""
    distances, common = np.diff(times), _commonest(times)
    usual = int((np.abs((distances - common) / common) <= _ALIKE).sum())
    told, off = str(Spacing(common)), _off_grid(times, common)
    if times.dtype.kind == "M" and common >= np.timedelta64(28, "D") and len(by_month := _off_months(times)) < len(off):
        told, off = "1 month or more", by_month
        usual = len(times) - 1 - len(off)
    if 2 * usual <= len(distances) or not len(off):
        return (
            "its steps are not evenly spaced. Give one value a day, or an hour, or leave the column of times out; "
            "hours of a clock that is put forward in summer are even in UTC. A step may have an empty cell as value."
        )
    smallest = distances.min()
    also = f", and some only {Spacing(smallest)}" if smallest < common * (1 - _ALIKE) else ""
    more = f", nor do {len(off) - 1:,} others" if len(off) > 1 else ""
    return (
        f"most of its steps are {told} apart{also}. Step {off[0] + 1}, at {_written(times[off[0]])}, does not fall on "
        f"the grid of the others{more}. Remove such rows, or round their times; hours of a clock that is put forward "
        "in summer are even in UTC."
    )


def _off_grid(times: Moments, step: Any) -> NDArray[np.int64]:
    """Which times lie between the steps of the grid on which most of them are."""
    # The first may itself be one that is wrong.
    grids = [(times - times[start]) / step for start in (0, len(times) // 2, -1)]
    off = [np.flatnonzero(np.abs(places - np.rint(places)) > _TOLERANCE * len(times)) for places in grids]
    return min(off, key=len)


def _off_months(times: Moments) -> NDArray[np.int64]:
    """Which dates are not on the day of their month that most are on."""
    days, lengths = _days_of_months(times)
    day = np.bincount(days).argmax()
    off = [np.flatnonzero(days != end) for end in (lengths, np.minimum(day, lengths))]
    return min(off, key=len)


def _written(time: Any) -> str:
    """A time as it is usually written."""
    if not isinstance(time, np.datetime64):
        return f"{time:.15g}"
    return str(time).removesuffix(".000000").removesuffix("T00:00:00")


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'s' * (count != 1)}"


def _months(times: Moments, smallest: Any) -> Spacing | None:
    """Of dates that are all on one day of their month, or all on the last."""
    if smallest < np.timedelta64(28, "D"):
        return None
    of_month, lengths = _days_of_months(times)
    at_ends, day = bool((of_month == lengths).all()), int(of_month.max())
    # The 30th of February is its last day.
    if not (at_ends or (of_month == np.minimum(day, lengths)).all()) or len(np.unique(of_day(times))) > 1:
        return None
    return Spacing(
        int(np.diff(times.astype("datetime64[M]").astype(np.int64)).min()), months=True, at_ends=at_ends, day=day
    )


def _days_of_months(times: Moments) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The day of its month that each date is on, from 1, and how many that month has."""
    days, month = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    lengths = (month + 1).astype("datetime64[D]") - month
    return (days - month).astype(np.int64) + 1, lengths.astype(np.int64)

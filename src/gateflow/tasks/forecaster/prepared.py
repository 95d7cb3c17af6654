"""A series as the network reads it: scaled by its own past, with what is known ahead and what a naive forecast says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series import Series
from gateflow.data.series.moments import Moments
from gateflow.data.series.spacing import Spacing
from gateflow.errors import DataError
from gateflow.tasks.forecaster.calendar import CALENDAR, calendar
from gateflow.tasks.forecaster.layout import Layout
from gateflow.tasks.forecaster.seasonal import carried_forward, naive, typical_error

__all__ = ["Level", "Prepared", "ahead_width", "arranged", "prepared", "read_width", "refuse_too_large", "to_come"]

Numbers = NDArray[np.float32]

# Sums and differences of larger ones, times how far off a forecast may be, are beyond float32.
MOST = 1e35
# Of what is about 1. Farther off all is alike to a network; and no quotient of float32 is infinite.
FARTHEST = 1e6
SEASONS = 3
"""Seasons before a step that are known of it: one is noisy, and some say how much of it comes again."""


@dataclass(frozen=True)
class Level:
    """About where the targets of a series lie, and how far they usually move; of the steps that are seen.

    Attributes:
        mean, deviation: ``[N]``.
        scale: ``[N]``, how wrong the seasonal naive forecast usually is: what forecasts and losses are measured in.
    """

    mean: Numbers
    deviation: Numbers
    scale: Numbers

    @classmethod
    def of(cls, targets: Numbers, filled: Numbers, season: int, seen: int) -> Level:
        """That of the first `seen` steps."""
        # In float64: squares of large values are beyond float32.
        mean, deviation = filled[:seen].mean(axis=0, dtype=np.float64), filled[:seen].std(axis=0, dtype=np.float64)
        # A target that never changes is divided by no zero.
        deviation = np.where(deviation > 1e-6 * np.abs(mean), deviation, np.where(mean == 0, 1, np.abs(mean)))
        return cls(mean.astype(np.float32), deviation.astype(np.float32), typical_error(targets[:seen], season))

    def standard(self, filled: Numbers) -> Numbers:
        """Values of about size 1."""
        return _within(filled - self.mean, self.deviation)

    def departures(self, values: Numbers, expected: Numbers) -> Numbers:
        """How far values are from those expected, in units of `scale`; NaN where one is missing."""
        return _within(values - expected, self.scale)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A series of `T` steps with `N` targets.

    Attributes:
        name: of the series.
        targets: ``[T, N]``, NaN where a value is missing.
        filled: the same, with what was a season before where a value is missing.
        others: ``[T + horizon, past + future]``, the channels that are not forecast; NaN where they are not known.
        level: by which all is scaled.
        read: ``[T, X]``, what the layers read; no NaN in it.
        ahead: ``[T + horizon, U]``, what is known of each step before it comes: covariates, the calendar, and what the
            targets were some seasons before.
        naive: ``[T, horizon, N]``, the seasonal naive forecast from each step.
        times: of the steps and of those to come, if there are any.
        utc: whether they are in UTC for certain.
        seen: steps from which the level was taken, and which training may read.
    """

    name: str
    targets: Numbers
    filled: Numbers
    others: Numbers
    level: Level
    read: Numbers
    ahead: Numbers
    naive: Numbers
    times: Moments | None
    seen: int
    utc: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def scale(self) -> Numbers:
        """What forecasts and losses are measured in, ``[N]``."""
        return self.level.scale

    def departure(self) -> Numbers:
        """What the network has to forecast, ``[T, horizon, N]``: `(y[t + k] - naive[t, k]) / scale`, NaN if unknown."""
        return self.level.departures(to_come(self.targets, self.naive.shape[1]), self.naive)


def refuse_too_large(values: Numbers, where: str) -> None:
    """Refuse what forecasts could not be computed of in float32.

    Raises:
        DataError: a value is beyond `MOST`.
    """
    if (largest := np.nanmax(np.abs(values), initial=0)) > MOST:
        raise DataError(
            f"{where}: the value {largest:.3g} is beyond {MOST:g}, too large to forecast from. Scale the values first."
        )


def to_come(targets: Numbers, horizon: int) -> Numbers:
    """What comes after each step, ``[T, horizon, N]`` of ``[T, N]``; NaN behind the end.

    Example:
        >>> to_come(np.array([[1.0], [2.0], [3.0]], dtype=np.float32), horizon=2)[..., 0]
        array([[ 2.,  3.],
               [ 3., nan],
               [nan, nan]], dtype=float32)
    """
    beyond = np.concatenate([targets, np.full((horizon, targets.shape[1]), np.nan, dtype=np.float32)])
    return beyond[np.arange(len(targets))[:, None] + np.arange(1, horizon + 1)]


def read_width(layout: Layout) -> int:
    """Numbers that the layers read of a step: of a target its value, its change over a season, whether it is known."""
    covariates = len(layout.past) + len(layout.future)
    return 3 * len(layout.targets) + 2 * covariates + CALENDAR * layout.dated


def ahead_width(layout: Layout, season: int) -> int:
    """Numbers that are known of a step before it comes."""
    lagged = SEASONS * len(layout.targets) if season > 1 else 0
    return 2 * len(layout.future) + CALENDAR * layout.dated + lagged


def prepared(
    series: Series,
    spacing: Spacing | None,
    layout: Layout,
    *,
    horizon: int,
    season: int,
    seen: int | None = None,
    unseen: int = 0,
) -> Prepared:
    """A series with the channels of `layout`, its steps evenly spaced.

    Where channels are known ahead, rows at its end with no value of a target or of `past` are steps to come, from which
    these channels are taken. Without such channels each row is a step that was, though its value may be missing.

    Args:
        series, spacing: as `gateflow.data.series.spacing.evenly` gives them.
        layout: of the run.
        horizon, season: steps.
        seen: steps from the first that may decide the scales; all if not given.
        unseen: steps from the last that may not: those that are forecast to be judged.

    Raises:
        DataError: no value of a target is known, or none of the steps that may decide the scales.
    """
    known = np.asarray(np.isfinite(series.values[:, : len(layout.targets)]).any(axis=1))
    if not known.any():
        raise DataError(f"{series.place}: no value of {', '.join(layout.targets):.60} is known. Give some.")
    steps = _steps(series, layout, judged=unseen > 0)
    # Missing values at the end say nothing of the level: a stream that is told of them one by one keeps its own, too.
    seen = min(int(np.flatnonzero(known)[-1]) + 1 if seen is None else seen, steps - unseen)
    if seen < 1 or not bool(np.any(known[:seen])):
        raise DataError(
            f"{series.place}: of {steps} steps {unseen} are to be forecast, and nothing is known before them. Give a "
            "longer series, or a smaller --steps."
        )
    targets, given = np.split(series.values, [len(layout.targets)], axis=1)
    targets = targets[:steps]
    others = np.full((steps + horizon, given.shape[1]), np.nan, dtype=np.float32)
    others[: len(given)] = given[: len(others)]
    filled = carried_forward(targets, season, seen)
    level, times = Level.of(targets, filled, season, seen), _times(series, spacing, steps, horizon)
    read, ahead = arranged(targets, filled, others, times, level, layout, season)
    return Prepared(
        series.name or "",
        targets,
        filled,
        others,
        level,
        read,
        ahead,
        naive(filled, season, horizon),
        times,
        seen,
        series.utc,
    )


def _steps(series: Series, layout: Layout, *, judged: bool) -> int:
    """How many steps a series has, without those to come; to the last known target where forecasts are judged by it."""
    if not (judged or layout.future):
        return len(series)
    told = len(layout.targets) + (0 if judged else len(layout.past))
    return int(np.flatnonzero(np.isfinite(series.values[:, :told]).any(axis=1))[-1]) + 1


def arranged(
    targets: Numbers,
    filled: Numbers,
    others: Numbers,
    times: Moments | None,
    level: Level,
    layout: Layout,
    season: int,
) -> tuple[Numbers, Numbers]:
    """What the layers read of each step, and what is known ahead of it: `read` and `ahead` of `Prepared`.

    Args:
        targets, filled: ``[T, N]``.
        others, times: ``[T + horizon, …]``.
        level, layout, season: of the series and the run.
    """
    steps, horizon = len(targets), len(others) - len(targets)
    before = np.concatenate([np.repeat(filled[:1], min(season, steps), axis=0), filled[:-season]])
    # Value against the mean, change over a season, and whether it is known; all of about one size.
    of_targets = [level.standard(filled), level.departures(filled, before), np.isfinite(targets).astype(np.float32)]
    scaled = _scaled(others, layout)
    dates = [calendar(times)] if layout.dated and times is not None else []
    lagged = [_seasons_before(level.standard(filled), season, horizon)] if season > 1 else []
    read = np.concatenate([*of_targets, scaled[:steps], *(each[:steps] for each in dates)], axis=1)
    return read, np.concatenate([scaled[:, 2 * len(layout.past) :], *dates, *lagged], axis=1)


def _seasons_before(standard: Numbers, season: int, horizon: int) -> Numbers:
    """The targets one, two and three seasons before each step, ``[T + horizon, 3 N]``; zero before the first step.

    If a forecast is longer than a season, the nearest that is always known comes first.
    """
    steps = np.arange(len(standard) + horizon)
    first = -(-horizon // season)
    sources = [steps - season * (first + k) for k in range(SEASONS)]
    return np.concatenate([np.where(at[:, None] >= 0, standard[np.maximum(at, 0)], 0) for at in sources], axis=1)


def _scaled(others: Numbers, layout: Layout) -> Numbers:
    """Channels that are not forecast, each with whether it is known, ``[T + horizon, 2 (past + future)]``."""
    known = np.isfinite(others)
    means, deviations = np.array(layout.means, dtype=np.float32), np.array(layout.deviations, dtype=np.float32)
    values = np.where(known, _within(others - means, deviations), 0)
    return np.stack([values, known], axis=2).reshape(len(others), -1).astype(np.float32)


def _within(values: Numbers, unit: Numbers) -> Numbers:
    """Values in a unit, within `FARTHEST`."""
    return np.clip(values.astype(np.float64) / unit, -FARTHEST, FARTHEST).astype(np.float32)


def _times(series: Series, spacing: Spacing | None, steps: int, horizon: int) -> Moments | None:
    if series.times is None or spacing is None:
        return None
    given = series.times[: steps + horizon]
    more = steps + horizon - len(given)
    return np.concatenate([given, spacing.after(given, more)]) if more else given

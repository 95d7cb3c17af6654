"""What cells that are compared have in common: one budget, and the form of a result."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Literal, NamedTuple

from gateflow.errors import ConfigError

# Updates from which the speed is measured: five, and up to 320 of them where they take less than half a second.
TRIAL, MOST, LONG_ENOUGH = 5, 320, 0.5


Better = Literal["smaller", "larger"]


class Budget(NamedTuple):
    """Updates, or minutes of training, per cell and seed."""

    updates: int | None = None
    minutes: float | None = None

    def check(self) -> None:
        """Raise a ConfigError unless one of the two is given, and one only, and it is a number."""
        if (self.updates is None) == (self.minutes is None):
            raise ConfigError("give the budget either as --updates or as --minutes.")
        if not math.isfinite(self.minutes or 0):
            raise ConfigError(f"--minutes {self.minutes}: give a number.")

    def in_updates(self, seconds_of_one: Callable[[], float]) -> int:
        """The budget in updates; what one of them takes is measured if the budget is time.

        Example:
            >>> Budget(updates=70).in_updates(lambda: 0.5), Budget(minutes=2).in_updates(lambda: 0.5)
            (70, 240)
        """
        # At least one, however slow: a row of the table needs a figure.
        return self.updates or max(1, round(60 * (self.minutes or 0) / seconds_of_one()))


def steady(seconds_of_one: Callable[[int], float]) -> float:
    """What an update takes, as measured on so many of them; measured again on more where five are too few to tell.

    Example:
        >>> steady(lambda updates: 0.01)
        0.01
    """
    one = seconds_of_one(TRIAL)
    # Of five fast updates the clock says little, and 320 are never long.
    more = min(MOST, math.ceil(LONG_ENOUGH / max(one, 1e-9)))
    return seconds_of_one(more) if more > TRIAL else one


class CellResult(NamedTuple):
    """One cell: its recurrent parameters, its speed, how well each seed did, and its horizon.

    A horizon is the lag at which 1 % of the gradient is left after training; `reachable` is the longest in the batch.
    `measure` says what `qualities` are, and `better` which of them; `target` is what the time is told for, such as a
    step or a word.
    """

    cell: str
    parameters: int
    updates: int
    microseconds_per_step: float
    qualities: list[float]
    horizons: list[int | None]
    reachable: int
    measure: str
    better: Better = "smaller"
    target: str = "step"

    def spread(self) -> tuple[float, float]:
        """Mean and standard deviation over the seeds; the deviation of one seed is 0, NaN if a training broke.

        Example:
            >>> CellResult("gru", 9, 1, 0.5, [1.0, 3.0], [7, 9], 99, "perplexity").spread()
            (2.0, 1.4142135623730951)
        """
        mean = fmean(self.qualities)
        # One broken training has no deviation from the others.
        if not math.isfinite(mean):
            return mean, math.nan
        return mean, stdev(self.qualities) if len(self.qualities) > 1 else 0.0

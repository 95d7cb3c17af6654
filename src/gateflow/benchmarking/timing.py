"""Fair timing on a shared machine: the peers take turns, and their medians are compared."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Call = Callable[[], Any]

# Rounds that are run however long they take; a median of less says nothing.
FEWEST = 3
# Seconds a sample lasts: shorter calls are repeated within it.
LONG_ENOUGH = 0.01
# Seconds between two calls: idle threads of the last one spin for a while, on the cores of the next.
PAUSE = 0.004


class Timing(NamedTuple):
    """Seconds per call, over the rounds."""

    median: float
    fastest: float
    slowest: float
    rounds: int


def interleaved(
    calls: Mapping[str, Call], *, rounds: int = 7, seconds: float = math.inf, long_enough: float = LONG_ENOUGH
) -> dict[str, Timing]:
    """Time each call once per round, so that whatever slows the machine down meets them all.

    Args:
        calls: what to time, by name.
        rounds: samples of each.
        seconds: no round after the third begins later than this.
        long_enough: seconds that one sample lasts at least; short calls are repeated.

    Example:
        >>> times = interleaved({"short": lambda: sum(range(10)), "long": lambda: sum(range(10_000))})
        >>> times["short"].median < times["long"].median
        True
    """
    repeats = {name: _repeats(call, long_enough) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    # Counted after the first calls: what builds and compiles is no part of the measurement.
    last_start = time.perf_counter() + seconds
    for done in range(rounds):
        # Between rounds only: each call has as many samples as the others.
        if done >= FEWEST and time.perf_counter() > last_start:
            break
        for name, call in calls.items():
            time.sleep(PAUSE)
            samples[name].append(_sample(call, repeats[name]))
    return {name: _timing(times) for name, times in samples.items()}


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean for ratios: twice as fast here and half as fast there is 1.

    Example:
        >>> geometric_mean([2.0, 0.5])
        1.0
    """
    return statistics.geometric_mean(ratios)


def _repeats(call: Call, long_enough: float) -> int:
    """The first call builds and compiles; the second tells how long one takes."""
    call()
    # A clock that says 0 must not ask for infinitely many.
    return max(1, math.ceil(long_enough / max(_sample(call, 1), 1e-9)))


def _sample(call: Call, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _timing(times: list[float]) -> Timing:
    return Timing(statistics.median(times), min(times), max(times), len(times))

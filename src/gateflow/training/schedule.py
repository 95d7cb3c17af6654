"""The learning rate as a function of the update, so that a resumed run needs no state for it."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def rate(step: int, total: int, *, peak: float, warmup: int, schedule: Schedule) -> float:
    """The learning rate of update `step` (from 0) out of `total`.

    It rises linearly over `warmup` updates to `peak`, then stays (``constant``) or falls to 0 in a straight line
    (``linear``) or along half a cosine (``cosine``; Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts).

    Example:
        >>> [rate(step, 4, peak=1.0, warmup=2, schedule="linear") for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup:
        # From 1/warmup, not from 0: the first update should learn something.
        return peak * (step + 1) / warmup
    # At most 1: a run that is resumed with fewer updates than it has made stands beyond its end.
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    falling = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return peak * falling[schedule]

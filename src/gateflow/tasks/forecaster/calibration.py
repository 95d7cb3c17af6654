"""Intervals that hold what they say: how far each quantile is moved away from the median, or closer to it.

    d'_q = d_0.5 + w_q (d_q - d_0.5)

A network that has learnt its series for long is surer of them than of what comes after. The factors `w_q` are fitted on
the validation part, by sums over its values: so each process sums up its own, and one pass is enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["WIDENINGS", "best_widenings", "gathered", "pinball_at"]

# Quarters of an octave from 0.35 to 5.7; small validation parts do not bear out more.
WIDENINGS: tuple[float, ...] = tuple(2.0 ** (k / 4) for k in range(-6, 11))

Numbers = NDArray[np.floating]


def pinball_at(quantiles: Numbers, wanted: Numbers, scale: Numbers, levels: Sequence[float]) -> NDArray[np.float64]:
    """The summed pinball loss of each quantile at each of `WIDENINGS`, ``[17, Q]``.

    Args:
        quantiles: ``[origins, horizon, N, Q]``, as the network forecasts them.
        wanted: ``[origins, horizon, N]``, NaN where it is not known.
        scale: ``[N]``, what the loss is measured in.
        levels: of the quantiles.
    """
    known, q = np.isfinite(wanted), np.asarray(levels)
    units = np.broadcast_to(scale, wanted.shape)[known][:, None].astype(np.float64)
    middle = quantiles[..., list(levels).index(0.5), None][known]
    apart, error = (quantiles[known] - middle) / units, (wanted[known][:, None] - middle) / units
    return np.stack([_pinball(error - w * apart, q).sum(axis=0) for w in WIDENINGS])


def best_widenings(losses: Numbers) -> list[float]:
    """The factor of each quantile at which its loss is least, between the ones it was measured at by a parabola.

    Args:
        losses: as `pinball_at` gives them, or a multiple.

    Source: the quantile is where its pinball loss is least (Koenker and Bassett 1978); on values that were not learnt
    from as in Romano, Patterson and Candès (2019), "Conformalized quantile regression", arXiv:1905.03222.

    Example:
        >>> values = np.random.default_rng(0).normal(size=(10_000, 1, 1))
        >>> too_sure = np.broadcast_to([-0.64, 0.0, 0.64], (10_000, 1, 1, 3))   # a half of the deviations ± 1.28
        >>> losses = pinball_at(too_sure, values, np.ones(1), (0.1, 0.5, 0.9))
        >>> [round(w, 1) for w in best_widenings(losses)]
        [2.0, 1.0, 2.0]
    """
    return [_least(column) for column in losses.T]


def gathered(means: Mapping[str, float], name: str, levels: int) -> Numbers:
    """The means of `pinball_at` that were kept under ``name_0``, ``name_1``, …, ``[17, Q]``."""
    found = [means[f"{name}_{i}"] for i in range(len(WIDENINGS) * levels)]
    return np.array(found).reshape(len(WIDENINGS), levels)


def _pinball(distance: Numbers, levels: Numbers) -> Numbers:
    return np.maximum(levels * distance, (levels - 1) * distance)


def _least(losses: Numbers) -> float:
    # Of the median all are the same; and where nothing is known.
    if not np.isfinite(losses).all() or np.ptp(losses) <= 1e-12 * np.abs(losses).max():
        return 1.0
    k = int(losses.argmin())
    if k in (0, len(losses) - 1):
        return WIDENINGS[k]
    before, here, after = losses[k - 1 : k + 2]
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return WIDENINGS[k] * math.exp2(shift / 4)

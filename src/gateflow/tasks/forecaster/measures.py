"""How good forecasts are: sums that add up over series and origins, and the measures that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measures"]

Numbers = NDArray[np.floating]


@dataclass
class Measures:
    """The figures of forecasts, as a whole and for each step ahead.

    * MAE: mean of ``|y - median|``, in the units of the series
    * RMSE: root of the mean of its square
    * MASE: mean of ``|y - median| / scale``; below 1 is better than the seasonal naive forecast was in training
    * coverage: share of values between the lowest and the highest quantile
    * pinball: mean pinball loss over all quantiles, divided by the scale

    Attributes:
        levels: the quantiles.
        counts, absolute, squared, scaled, covered, pinball: ``[horizon]`` sums for each step ahead.

    Hyndman and Koehler 2006, "Another look at measures of forecast accuracy".
    """

    levels: Sequence[float]
    counts: Numbers
    absolute: Numbers
    squared: Numbers
    scaled: Numbers
    covered: Numbers
    pinball: Numbers

    @classmethod
    def empty(cls, levels: Sequence[float], horizon: int) -> Measures:
        """Of no forecast."""
        return cls(levels, *(np.zeros(horizon) for _ in range(6)))

    def add(self, quantiles: Numbers, wanted: Numbers, scale: Numbers) -> None:
        """Count the forecasts of a series.

        Args:
            quantiles: ``[origins, horizon, N, Q]``.
            wanted: ``[origins, horizon, N]``, NaN where it is not known.
            scale: ``[N]``.
        """
        known = np.isfinite(wanted)
        levels = np.asarray(self.levels)
        distance = np.where(known[..., None], wanted[..., None] - quantiles, 0).astype(np.float64)
        error = distance[..., list(self.levels).index(0.5)]
        loss = np.maximum(levels * distance, (levels - 1) * distance).mean(axis=-1)
        inside = known & (distance[..., 0] >= 0) & (distance[..., -1] <= 0)
        for sums, values in (
            (self.counts, known),
            (self.absolute, np.abs(error)),
            (self.squared, error**2),
            (self.scaled, np.abs(error) / scale),
            (self.covered, inside),
            (self.pinball, loss / scale),
        ):
            sums += values.sum(axis=(0, 2), dtype=np.float64)

    def figures(self) -> dict[str, float]:
        """The measures over all steps ahead; zeros if nothing is known."""
        count = max(1.0, float(self.counts.sum()))
        return {
            "mae": float(self.absolute.sum()) / count,
            "rmse": (float(self.squared.sum()) / count) ** 0.5,
            "mase": float(self.scaled.sum()) / count,
            "coverage": float(self.covered.sum()) / count,
            "pinball": float(self.pinball.sum()) / count,
        }

    def mase_ahead(self) -> Numbers:
        """The MASE of each step ahead, ``[horizon]``; NaN where nothing is known."""
        with np.errstate(invalid="ignore"):
            return self.scaled / self.counts

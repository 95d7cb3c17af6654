"""How good found numbers are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean

__all__ = ["NumberMeasures"]


@dataclass
class NumberMeasures:
    """All figures of a regression on some examples; NaN where there are none.

    Example:
        >>> measures = NumberMeasures()
        >>> for gold, given in [(1.0, 2.0), (3.0, 3.0), (5.0, 4.0)]:
        ...     measures.add(gold, given)
        >>> round(measures.mae, 3), round(measures.rmse, 3), measures.r2
        (0.667, 0.816, 0.75)
    """

    gold: list[float] = field(default_factory=list)
    given: list[float] = field(default_factory=list)

    def add(self, gold: float, given: float) -> None:
        """Count a number; one that is not known (NaN) is left out."""
        if not math.isnan(gold):
            self.gold.append(gold)
            self.given.append(given)

    @property
    def mae(self) -> float:
        """The mean absolute error."""
        return fmean(map(abs, self._errors())) if self.gold else math.nan

    @property
    def rmse(self) -> float:
        """The root of the mean squared error."""
        return math.sqrt(fmean(x * x for x in self._errors())) if self.gold else math.nan

    @property
    def r2(self) -> float:
        """The coefficient of determination, ``1 - Σ (y - ŷ)² / Σ (y - mean)²``; NaN if all are the same."""
        if not self.gold:
            return math.nan
        middle = fmean(self.gold)
        spread = sum((x - middle) ** 2 for x in self.gold)
        return 1 - sum(x * x for x in self._errors()) / spread if spread else math.nan

    def figures(self) -> dict[str, float]:
        """All of them, as data."""
        return {"examples": len(self.gold), "mae": self.mae, "rmse": self.rmse, "r2": self.r2}

    def _errors(self) -> list[float]:
        return [given - gold for gold, given in zip(self.gold, self.given, strict=True)]

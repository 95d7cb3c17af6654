"""What is counted of right and wrong answers, and the measures of it; for any task that gives names to things."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean

__all__ = ["Average", "Confusion", "Score", "figures_of", "mean_of"]


@dataclass(frozen=True)
class Score:
    """How many there are, how many were predicted, and how many of these are right.

    A measure whose divisor is zero is 0, as in seqeval.

    Example:
        >>> score = Score(gold=4, predicted=2, correct=1)
        >>> score.precision, score.recall, round(score.f1, 3)
        (0.5, 0.25, 0.333)
    """

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    @property
    def precision(self) -> float:
        """The share of what was predicted that is right."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of what there is that was found."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both: ``2 correct / (gold + predicted)``."""
        return 2 * self.correct / (self.gold + self.predicted) if self.gold + self.predicted else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(self.gold + other.gold, self.predicted + other.predicted, self.correct + other.correct)


@dataclass(frozen=True)
class Average:
    """Means over types of precision, recall and F1, each type with equal weight."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Confusion:
    """How often each row (gold) was taken for each column (predicted)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def mean_of(scores: Collection[Score]) -> Average:
    """The means over some types; 0 if there are none.

    Example:
        >>> mean_of([Score(1, 1, 1), Score(1, 1, 0)])
        Average(precision=0.5, recall=0.5, f1=0.5)
    """
    if not scores:
        return Average(0.0, 0.0, 0.0)
    return Average(*(fmean(getattr(score, name) for score in scores) for name in ("precision", "recall", "f1")))


def figures_of(score: Score) -> dict[str, float]:
    """Counts and measures by name, such as JSON has."""
    return {**vars(score), "precision": score.precision, "recall": score.recall, "f1": score.f1}

"""What the trainings of a study say: one row per candidate, and what foretold who would solve the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, correlation, fmean, median

from gateflow.studies.remedy_study import Training

__all__ = ["CandidateRow", "foretold", "rank_correlation", "rows"]


@dataclass(frozen=True)
class CandidateRow:
    """A candidate's trainings with all seeds."""

    candidate: str
    trainings: tuple[Training, ...]

    @property
    def solved(self) -> list[int]:
        """The updates at which the task was solved, of the trainings that solved it."""
        return [t.solved_at for t in self.trainings if t.solved_at is not None]

    @property
    def broken(self) -> int:
        """How many trainings ended in a gradient that was not finite."""
        return sum(t.broken_at is not None for t in self.trainings)

    @property
    def success(self) -> float:
        """The share of trainings that solved the task."""
        return len(self.solved) / len(self.trainings)

    @property
    def horizon(self) -> float:
        """Median before training."""
        return median(t.before.horizon for t in self.trainings)

    @property
    def gradient_norm(self) -> float:
        """Median before training."""
        return median(t.before.gradient_norm for t in self.trainings)


def rows(trainings: Sequence[Training]) -> list[CandidateRow]:
    """Group trainings by candidate, in their order."""
    # In the order of the trainings, each once.
    names = dict.fromkeys(t.candidate for t in trainings)
    return [CandidateRow(name, tuple(t for t in trainings if t.candidate == name)) for name in names]


def foretold(trainings: Sequence[Training], lag: int) -> list[str]:
    """Say what the horizon before training foretold, and what the norm of the gradient did; all is computed.

    Args:
        trainings: of all candidates.
        lag: a horizon of so many steps or more counts as long.
    """
    # One border, the lag of the task's own distance: a best one would be found for any figures.
    long = [t for t in trainings if t.before.horizon >= lag]
    short = [t for t in trainings if t.before.horizon < lag]
    split = (
        f"Of {len(long)} trainings that began with a horizon of {lag} steps or more, {_solved(long)} solved the task"
    )
    found = rows(trainings)
    return [f"{split}; of {len(short)} with a shorter one, {_solved(short)}.", _ranked(found), *_exceptions(found, lag)]


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, ties at their mean rank; none if one of the two is all the same.

    Example:
        >>> rank_correlation([1, 2, 3, 4], [0, 0, 10, 100]), rank_correlation([1, 2], [5, 5])
        (0.9486832980505138, None)
    """
    try:
        return correlation(_ranks(x), _ranks(y))
    except StatisticsError:
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    return [fmean(k for k, other in enumerate(sorted(values)) if other == value) for value in values]


def _ranked(found: Sequence[CandidateRow]) -> str:
    success = [row.success for row in found]
    horizon = rank_correlation([row.horizon for row in found], success)
    norm = rank_correlation([row.gradient_norm for row in found], success)
    if horizon is None or norm is None:
        return "All candidates did equally well, or began equally: there is nothing to foretell."
    return (
        f"Rank correlation with the share solved, over {len(found)} candidates: horizon {horizon:+.2f}, ‖∂E/∂W_hh‖ "
        f"{norm:+.2f}; here {_tells_more(horizon, norm)}. So few candidates show a direction, not a law."
    )


def _tells_more(horizon: float, norm: float) -> str:
    # As shown: two digits behind the point.
    if abs(abs(horizon) - abs(norm)) < 0.005:
        return "neither tells more"
    name, value = max(("horizon", horizon), ("gradient norm", norm), key=lambda pair: abs(pair[1]))
    return f"the {name} tells more" + (", the smaller the better" if value < 0 else "")


def _exceptions(found: Sequence[CandidateRow], lag: int) -> Iterator[str]:
    """What does not fit: a short horizon and solved by every seed, a long one and by none."""
    short = [row.candidate for row in found if row.horizon < lag and row.success == 1]
    long = [row.candidate for row in found if row.horizon >= lag and row.success == 0]
    if short:
        yield f"A short horizon, and solved all the same: {'; '.join(short)}."
    if long:
        yield f"A long horizon, and never solved: {'; '.join(long)}."


def _solved(trainings: Sequence[Training]) -> int:
    return sum(t.solved_at is not None for t in trainings)

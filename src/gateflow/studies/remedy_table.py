"""A study of remedies as a table with what it says below, as lines of a log, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from gateflow.studies.remedy_study import probed_lag
from gateflow.studies.remedy_summary import foretold, rows
from gateflow.tasks.description import Table

if TYPE_CHECKING:
    from gateflow.studies.memory import MemoryTask
    from gateflow.studies.remedy_study import Training
    from gateflow.studies.remedy_summary import CandidateRow


def study_table(task: MemoryTask, trainings: Sequence[Training], gradients: bool) -> Table:
    """One row per candidate; `gradients` adds what was measured before training next to the horizon."""
    lag = probed_lag(task)
    columns = ["candidate", "horizon", "then", "solved", "at update", task.metric, "clipped, %"]
    # Next to the horizon, which they are compared with.
    columns[2:2] = ["‖∂E/∂W_hh‖", f"left at {lag}", "far share", "saturated, %"] if gradients else []
    title = f"{type(task).__name__}, {task.steps} steps. Horizon: steps back at which 1 % of the gradient is left, "
    title += "before training and then."
    if gradients:
        title += f" Before training too, medians: the norm of the usual gradient, what is left {lag} steps back, the "
        title += "share of the terms of Equation (1) from 40 % of the steps or farther, and of a tanh beyond ±0.95."
    return Table(columns, [_row(row, gradients) for row in rows(trainings)], as_document(task, trainings), title)


def as_document(task: MemoryTask, trainings: Sequence[Training]) -> dict[str, Any]:
    """All trainings one by one, and what they say."""
    about = {"task": type(task).__name__, "steps": task.steps, "measure": task.metric, "probed_lag": probed_lag(task)}
    each = [training.to_dict() for training in trainings]
    return about | {"trainings": each, "foretold": foretold(trainings, probed_lag(task))}


def in_words(training: Training) -> str:
    """One training, for the log."""
    end = f"{training.failure:.3g} at the end"
    if training.solved_at:
        end = f"solved at update {training.solved_at}"
    if training.broken_at:
        end = f"gradient not finite at update {training.broken_at}"
    before = training.before
    return (
        f"{training.candidate}, seed {training.seed}: {end}; "
        f"horizon {before.horizon}, then {'–' if training.horizon is None else training.horizon}; "
        f"‖∂E/∂W_hh‖ {before.gradient_norm:.1e}, left {before.left:.1e}, far share {before.far_share:.1e}; "
        f"clipped {training.clip_rate:.0%}"
    )


def _row(row: CandidateRow, gradients: bool) -> list[str]:
    before, trainings = [t.before for t in row.trainings], row.trainings
    measured = [median(getattr(b, name) for b in before) for name in ("gradient_norm", "left", "far_share")]
    # A ReLU network has no tanh that could saturate.
    saturated = [b.saturated for b in before if b.saturated is not None]
    measured = [*(f"{value:.1e}" for value in measured), f"{100 * median(saturated):.0f}" if saturated else "–"]
    return [
        row.candidate,
        between([b.horizon for b in before]),
        *(measured if gradients else ()),
        between([t.horizon for t in trainings if t.horizon is not None]),
        f"{len(row.solved)} of {len(trainings)}" + (f", {row.broken} not finite" if row.broken else ""),
        f"{median(row.solved):,.0f}" if row.solved else "–",
        between([t.failure for t in trainings if not math.isnan(t.failure)]),
        between([round(100 * t.clip_rate) for t in trainings]),
    ]


def between(values: Sequence[float]) -> str:
    """The smallest and the largest, to two digits.

    Example:
        >>> between([7, 7]), between([0.0123, 0.5]), between([])
        ('7', '0.012–0.5', '–')
    """
    low, high = (f"{value:.2g}" for value in (min(values), max(values))) if values else ("–", "–")
    return low if low == high else f"{low}–{high}"

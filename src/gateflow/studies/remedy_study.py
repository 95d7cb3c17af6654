"""What the gradient promises before training, and what training then comes to, for one candidate after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch import Generator, Tensor, nn

from gateflow.flow import gates, reach, terms
from gateflow.studies.candidates import Candidate
from gateflow.studies.memory import MemoryTask
from gateflow.studies.memory_comparison import MemoryComparison
from gateflow.studies.memory_training import MemoryOutcome
from gateflow.tasks.diagnosis import SAMPLED

__all__ = ["InitReport", "Training", "init_report", "probed_lag", "study"]


@dataclass(frozen=True)
class InitReport:
    """How the gradient of a task's loss flows through a model that has not been trained.

    Attributes:
        horizon: the largest lag at which 1 % of the gradient is left.
        left: the share of the gradient that is left at `probed_lag`.
        far_share: the part of the norms of the terms of Equation (1) that comes from at least 40 % of the length away;
            with a loss at the last step alone, from the first 60 % of the steps.
        gradient_norm: `‖∂E/∂W_hh‖`, what monitors of training usually show.
        saturated: the largest share of a tanh beyond ±0.95; none without a tanh.
    """

    horizon: int
    left: float
    far_share: float
    gradient_norm: float
    saturated: float | None


@dataclass(frozen=True)
class Training:
    """One candidate, one seed: what was measured before, and the outcome.

    Attributes:
        candidate, seed, before: which, and its report before training.
        updates: how many were made.
        solved_at: the update at which a check found the task solved; none if it never did.
        broken_at: the update at which the gradient was no longer finite; none if it always was.
        failure: the task's metric at the last check; NaN if the training broke.
        clip_rate: share of updates whose gradient was clipped.
        horizon: after training; none where nothing arrives.
    """

    candidate: str
    seed: int
    before: InitReport
    updates: int
    solved_at: int | None
    broken_at: int | None
    failure: float
    clip_rate: float
    horizon: int | None

    def to_dict(self) -> dict[str, Any]:
        """As numbers, for JSON."""
        return asdict(self)


def probed_lag(task: MemoryTask) -> int:
    """The lag at which reach is read: 45 % of the steps, the mean distance of temporal order's nearer symbol."""
    return round(0.45 * task.steps)


def init_report(model: nn.Module, task: MemoryTask, batch_size: int) -> InitReport:
    """Measure a model on one batch of a task, without training it; the layer farthest in each respect counts.

    Raises:
        FlowError, NonFiniteError: as `flow.reach`.

    Example:
        >>> import torch
        >>> from gateflow import Recurrent
        >>> from gateflow.studies.memory import Adding
        >>> from gateflow.studies.memory_training import Reader
        >>> _ = torch.manual_seed(0)
        >>> report = init_report(Reader(Adding(30), Recurrent("elman", 2, 8)), Adding(30), batch_size=4)
        >>> report.horizon < 20, report.left < 0.01
        (True, True)
    """
    inputs, targets = task.batch(batch_size, Generator().manual_seed(0))

    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return task.loss(model(x), targets)

    # No floor: what is left far away is the very question, and a floor would call it nothing.
    reached = reach(model, inputs, loss, targets=SAMPLED, floor=0.0)
    summed = terms(model, inputs, loss, targets=SAMPLED)
    # Of all layers and activations; the worst is reported.
    seen = (a for layer in gates(model, inputs, loss).layers.values() for a in layer.activations.values())
    # 40 % of the steps away or farther.
    near = task.steps - round(0.6 * task.steps) - 1
    return InitReport(
        reached.horizon,
        max(layer.left_at(probed_lag(task)) for layer in reached.layers.values()),
        max(layer.beyond(near) for layer in summed.layers.values()),
        max(layer.gradient_norm for layer in summed.layers.values()),
        max((a.high for a in seen if a.kind == "tanh"), default=None),
    )


def study(
    comparison: MemoryComparison,
    candidates: Sequence[Candidate],
    on_training: Callable[[Candidate, int], None] = lambda candidate, seed: None,
) -> Iterator[Training]:
    """Yield one training after another, all seeds of a candidate before the next candidate, each as soon as it is done.

    Args:
        comparison: task, budget, seeds, sizes and learning rate; its cells and its threshold of clipping are not used.
        candidates: what is compared.
        on_training: called before each training.

    Raises:
        ConfigError: the budget is not one of updates or minutes, or initial weights that a cell cannot have.

    Example:
        >>> from gateflow.studies.memory import Adding
        >>> from gateflow.studies.budget import Budget
        >>> comparison = MemoryComparison(Adding(10), Budget(updates=3), seeds=2, hidden_size=4)
        >>> [(done.candidate, done.seed, done.updates) for done in study(comparison, [Candidate("plain RNN")])]
        [('plain RNN', 0, 3), ('plain RNN', 1, 3)]
    """
    comparison.budget.check()
    for candidate in candidates:
        options = candidate.options(comparison.task)
        train = partial(comparison.train, candidate.cell, **options)
        measured = partial(comparison.seconds_of_one_update, candidate.cell, **options)
        updates = comparison.budget.in_updates(measured)
        for seed in comparison.all_seeds():
            on_training(candidate, seed)
            # The very weights that the training will begin with, by its seed.
            untrained, _ = train(seed, 0)
            before = init_report(untrained.model, comparison.task, comparison.batch_size)
            outcome, _ = train(seed, updates)
            yield _training(candidate, seed, before, outcome, comparison.horizon(outcome))


def _training(
    candidate: Candidate, seed: int, before: InitReport, outcome: MemoryOutcome, horizon: int | None
) -> Training:
    done = len(outcome.losses), outcome.solved_at, outcome.broken_at
    return Training(candidate.name, seed, before, *done, outcome.failure, outcome.clip_rate, horizon)

"""Training on a long-memory task until it is solved, or the budget is used up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from gateflow.errors import ConfigError, NonFiniteError
from gateflow.layers import Recurrent
from gateflow.remedies import clip
from gateflow.studies.memory import MemoryTask
from gateflow.training.warm_up import builds_kernels, thrown_away


class Reader(nn.Module):
    """A recurrent layer and a linear read-out of its last step, or of every step where the task asks for it."""

    def __init__(self, task: MemoryTask, layer: Recurrent):
        super().__init__()
        self.layer, self.reads_every_step = layer, task.reads_every_step
        self.readout = nn.Linear(layer.output_size, task.output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """``[T, B, I]`` to ``[B, O]``, or ``[T, B, O]``."""
        hidden, _ = self.layer(inputs)
        return self.readout(hidden if self.reads_every_step else hidden[-1])


@dataclass
class MemoryOutcome:
    """The model, the loss of each update, ``(update, metric)`` at each check, and when it was solved, if ever.

    `clip_rate` is the share of updates whose gradient was clipped. `broken_at` is the update at which a gradient that
    is not finite ended the training. `seconds` are those of the updates and `check_seconds` those of the checks; the
    build of kernels is in neither.
    """

    chance: float
    model: Reader
    losses: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    solved_at: int | None = None
    broken_at: int | None = None
    clip_rate: float = math.nan
    seconds: float = 0.0
    check_seconds: float = 0.0

    @property
    def failure(self) -> float:
        """The metric at the last check; NaN if there was none, or if the training broke."""
        return self.checks[-1][1] if self.checks and self.broken_at is None else math.nan


# What is added to the loss: of the model, its inputs, and the targets.
Penalty = Callable[[Reader, Tensor, Tensor], Tensor | float]


def train_memory(
    task: MemoryTask,
    layer: str | Recurrent = "lstm",
    *,
    init: Callable[[Recurrent], None] = lambda layer: None,
    hidden_size: int = 100,
    updates: int = 5000,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    clip_norm: float = 1.0,
    penalty: Penalty = lambda model, inputs, targets: 0.0,
    check_every: int = 100,
    check_size: int = 1000,
    seed: int = 0,
    on_update: Callable[[int, float], None] = lambda update, loss: None,
) -> MemoryOutcome:
    """Train on fresh batches until a check on other sequences finds the task solved, or the updates are used up.

    Args:
        task: which task, how long.
        layer: a cell's name, built here with ``hidden_size`` units, or a layer of your own.
        init: changes the layer's initial weights, such as ``partial(init.chrono, max_lag=100)``.
        hidden_size, updates, batch_size, learning_rate: the budget; Adam.
        clip_norm: the largest norm of a gradient; infinity for no clipping.
        penalty: added to the loss that is learned, not to `losses`; called once more before the first update, when
            kernels are built.
        check_every, check_size: how often, in updates, and on how many sequences.
        seed: of initial weights and sequences.
        on_update: called with the number of the update and its loss.

    Raises:
        ConfigError: the layer does not take the task's inputs.

    Example:
        >>> from gateflow.studies.memory import Adding
        >>> outcome = train_memory(Adding(10), "gru", updates=20, check_every=10, check_size=50)
        >>> len(outcome.losses), [update for update, _ in outcome.checks], outcome.solved_at
        (20, [10, 20], None)
    """
    # Whoever calls this keeps the course of their random numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(task, layer, hidden_size)
        init(model.layer)
    # Without decay or schedule: what is compared is the cell and its weights.
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    clipper = clip.NormClipper(model, threshold=clip_norm)
    # Far apart: the seeds of a study are 0, 1, 2, …, and no check may draw what another training has learned.
    training, checking = Generator().manual_seed(seed), Generator().manual_seed(seed + 1_000_003)
    outcome = MemoryOutcome(task.chance, model)
    # A training of no updates is how a study gets at untrained weights.
    if updates and builds_kernels(model):
        _warm_up(task, model, batch_size, penalty)
    began = time.perf_counter()
    for update in range(1, updates + 1):
        try:
            _update(task, outcome, optimizer, clipper, task.batch(batch_size, training), penalty)
        except NonFiniteError:  # the clipper raises after ten gradients in a row that were not finite
            outcome.broken_at = update
            break
        on_update(update, outcome.losses[-1])
        if update % check_every == 0 and _solved(task, outcome, update, check_size, checking):
            outcome.solved_at = update
            break
    outcome.seconds = time.perf_counter() - began - outcome.check_seconds
    outcome.clip_rate = clipper.statistics()["clipped_share"]
    return outcome


def _update(
    task: MemoryTask,
    outcome: MemoryOutcome,
    optimizer: torch.optim.Optimizer,
    clipper: clip.NormClipper,
    batch: tuple[Tensor, Tensor],
    penalty: Penalty,
) -> None:
    inputs, targets = batch
    optimizer.zero_grad()
    loss = task.loss(outcome.model(inputs), targets)
    outcome.losses.append(loss.item())  # without the penalty, so that those of two remedies can be compared
    (loss + penalty(outcome.model, inputs, targets)).backward()
    if clipper.step():
        optimizer.step()


def _solved(task: MemoryTask, outcome: MemoryOutcome, update: int, size: int, generator: Generator) -> bool:
    """A check on sequences that were not learned from; its seconds are counted apart."""
    began = time.perf_counter()
    outcome.checks.append((update, check(task, outcome.model, size, generator)))
    outcome.check_seconds += time.perf_counter() - began
    return outcome.checks[-1][1] < task.solved_below


@torch.no_grad()
def check(task: MemoryTask, model: nn.Module, size: int, generator: Generator) -> float:
    """Return the task's metric on ``size`` fresh sequences.

    Example:
        >>> from gateflow.studies.memory import TemporalOrder
        >>> task, generator = TemporalOrder(20), torch.Generator().manual_seed(0)
        >>> model = Reader(task, Recurrent("lstm", task.input_size, 8))
        >>> 0.5 < check(task, model, 400, generator) < 1
        True
    """
    inputs, targets = task.batch(size, generator)
    return task.failure(model(inputs), targets)


def _warm_up(task: MemoryTask, model: Reader, batch_size: int, penalty: Penalty) -> None:
    """Build what training and checks will run on, and leave no other trace."""
    inputs, targets = task.batch(batch_size, Generator().manual_seed(0))
    with thrown_away(model), suppress(NonFiniteError):
        with torch.no_grad():
            model(inputs)
        (task.loss(model(inputs), targets) + penalty(model, inputs, targets)).backward()


def _build(task: MemoryTask, layer: str | Recurrent, hidden_size: int) -> Reader:
    built = Recurrent(layer, task.input_size, hidden_size) if isinstance(layer, str) else layer
    if built.input_size != task.input_size or built.batch_first:
        raise ConfigError(
            f"{type(task).__name__} gives inputs [T, B, {task.input_size}]; the layer takes size {built.input_size}"
            f"{' and batch_first' if built.batch_first else ''}. Build it as Recurrent(cell, {task.input_size}, H)."
        )
    return Reader(task, built)

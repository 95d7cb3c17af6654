"""Several cells on a task of long memory (adding, copy, temporal order) and one budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Generator

from gateflow.layers import Recurrent
from gateflow.remedies.initial_weights import Initialiser, parted, with_number
from gateflow.studies.budget import Budget, CellResult, steady
from gateflow.studies.memory import Adding, Copy, MemoryTask, TemporalOrder
from gateflow.studies.memory_training import MemoryOutcome, train_memory
from gateflow.tasks.diagnosis import horizon_of

MEMORY_TASKS: dict[str, type[MemoryTask]] = {"adding": Adding, "copy": Copy, "order": TemporalOrder}
CHECK_EVERY = 100


@dataclass
class MemoryComparison:
    """Cells trained on fresh sequences of `task`, all else equal.

    `on_update` is told the updates done and in all; `seed` is the first of `seeds`.

    Example:
        >>> comparison = MemoryComparison(Adding(10), Budget(updates=4), hidden_size=5)
        >>> [(result.cell, result.updates, len(result.qualities)) for result in comparison.results(["elman", "gru"])]
        [('elman', 4, 1), ('gru', 4, 1)]
    """

    task: MemoryTask
    budget: Budget
    seeds: int = 1
    hidden_size: int = 100
    batch_size: int = 50
    lr: float = 1e-3
    clip: float = 1.0
    on_update: Callable[[int, int], None] = lambda done, total: None
    seed: int = 0

    def results(self, cells: Sequence[str]) -> Iterator[CellResult]:
        """One result per cell, as soon as it is done."""
        self.budget.check()
        # All of them first: a cell that does not exist is found before the first has been trained.
        layers = [Recurrent(parted(cell)[0], self.task.input_size, self.hidden_size) for cell in cells]
        for cell, layer in zip(cells, layers, strict=True):
            self.initialise(cell)(layer)  # what does not fit a cell is found as well
        for cell, layer in zip(cells, layers, strict=True):
            yield self.result(cell, sum(weight.numel() for weight in layer.parameters()))

    def result(self, cell: str, parameters: int) -> CellResult:
        """Train one cell with every seed."""
        updates = self.budget.in_updates(lambda: self.seconds_of_one_update(cell))
        trained = [self.train(cell, seed, updates) for seed in self.all_seeds()]
        steps = [len(outcome.losses) * self.task.steps * self.batch_size for outcome, _ in trained]
        # Per step of one sequence, so that lengths and batch sizes compare.
        speed = 1e6 * fmean(outcome.seconds / n for (outcome, _), n in zip(trained, steps, strict=True))
        failures = [outcome.failure for outcome, _ in trained]
        horizons = [self.horizon(outcome) for outcome, _ in trained]
        return CellResult(cell, parameters, updates, speed, failures, horizons, self.task.steps - 1, self.task.metric)

    def initialise(self, cell: str) -> Callable[[Recurrent], None]:
        """What draws the initial weights that are named with a cell, ``lstm:chrono``; none without."""
        weights = parted(cell)[1]
        return Initialiser.parse(with_number(weights, self.task.steps)).apply if weights else lambda layer: None

    def all_seeds(self) -> range:
        """As many as there are trainings, from the first on."""
        return range(self.seed, self.seed + self.seeds)

    def seconds_of_one_update(self, cell: str, **more: Any) -> float:
        """With its share of a check, of which the trial has one and a training one in so many updates."""

        def measured(updates: int) -> float:
            outcome, _ = self.train(cell, 0, updates, **more)
            checks = outcome.check_seconds / max(1, len(outcome.checks))
            return outcome.seconds / len(outcome.losses) + checks / CHECK_EVERY

        return steady(measured)

    def horizon(self, outcome: MemoryOutcome) -> int | None:
        """How many steps back the gradient of the task's loss reaches after training; None where nothing arrives."""
        # The same batch for all cells and seeds.
        inputs, targets = self.task.batch(self.batch_size, Generator().manual_seed(0))
        return horizon_of(outcome.model, inputs, lambda model, x: self.task.loss(model(x), targets))

    def train(self, cell: str, seed: int, updates: int, **more: Any) -> tuple[MemoryOutcome, float]:
        """One training and its seconds, checks included, kernels built before; it ends early if the task is solved.

        `more` goes to `train_memory`, and comes before what the comparison itself says.
        """
        outcome = train_memory(
            self.task,
            parted(cell)[0],
            hidden_size=self.hidden_size,
            updates=updates,
            batch_size=self.batch_size,
            learning_rate=self.lr,
            # So that a short training has a figure at its end.
            check_every=min(CHECK_EVERY, updates),
            seed=seed,
            on_update=lambda done, _: self.on_update(done, updates),
            **{"clip_norm": self.clip, "init": self.initialise(cell), **more},
        )
        return outcome, outcome.seconds + outcome.check_seconds

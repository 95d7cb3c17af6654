"""Several cells on the data of one task and one budget, each trained as a run that is thrown away."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from gateflow.cells import get
from gateflow.errors import NonFiniteError
from gateflow.remedies.initial_weights import parted
from gateflow.runs.config import RunConfig
from gateflow.runs.run import Run
from gateflow.studies.budget import Better, Budget, CellResult, steady
from gateflow.tasks.description import Compared, TaskDescription
from gateflow.training.callbacks import Callback
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.start import begun_again
from gateflow.training.task import Task, TrainingOutcome, known_figure

# A task's metric in words.
BETTER: dict[str, Better] = {"min": "smaller", "max": "larger"}


@dataclass(frozen=True)
class Trained:
    """How one training went; its quality is NaN if it broke, so that it is a row of the table, and others follow."""

    outcome: TrainingOutcome
    measure: str
    quality: float
    better: Better

    @classmethod
    def by(cls, loop: TrainingLoop) -> Trained:
        """Train to the end; half a training is no result, and ends all."""
        try:
            outcome, broken = loop.train(), False
        except NonFiniteError:
            outcome, broken = loop.outcome(interrupted=False), True
        if outcome.interrupted:
            # The loop has swallowed the signal.
            raise KeyboardInterrupt
        measure, best = known_figure(loop.task, outcome.best)
        return cls(outcome, measure, math.nan if broken or best is None else best, BETTER[loop.task.metric[1]])


@dataclass
class Comparison:
    """Cells trained on the task and the data of `options` (section → option → value), all else equal.

    What is particular to the task is asked of its description: `begin` and `compared`, besides what any training needs.

    Raises:
        ConfigError: neither updates nor minutes are given, or both.
        DataError: the data are missing, are none, or are too few.
    """

    task: TaskDescription
    options: dict[str, dict[str, Any]]
    budget: Budget
    seeds: int = 1
    callbacks: Sequence[Callback] = ()

    def results(self, cells: Sequence[str]) -> Iterator[CellResult]:
        """One result per cell, as soon as it is done."""
        self.budget.check()
        # A cell that does not exist is found before the data are read, and one that does not fit them before the first
        # has been trained.
        for cell in cells:
            get(parted(cell)[0])
        # Runs of a comparison are thrown away; their folders are what the loop needs.
        with TemporaryDirectory() as folder:
            # The data are read once, for all cells and seeds.
            data = self.task.part("set_up")(Path(folder, "data"), self.configure(cells[0]))
            for cell in cells[1:]:
                self.task.part("begin")(data, self.configure(cell))
            for cell in cells:
                yield self.result(cell, data)

    def result(self, cell: str, data: Run[Any]) -> CellResult:
        """Train one cell with every seed."""
        updates = self.budget.in_updates(lambda: self.seconds_of_one_update(cell, data))
        first = self.configure(cell).training.seed
        judged = [self.judged(cell, seed, updates, data) for seed in range(first, first + self.seeds)]
        trained, compared = [each for each, _ in judged], [each for _, each in judged]
        return CellResult(
            cell,
            compared[0].parameters,
            max(each.outcome.step for each in trained),  # fewer than the budget where --epochs ends before it
            1e6 * fmean(each.outcome.seconds / max(1, each.outcome.targets) for each in trained),
            [each.quality for each in trained],
            [each.horizon for each in compared],
            compared[0].longest,
            measure=self.measured(trained[0]),
            better=trained[0].better,
            target=compared[0].target,
        )

    def judged(self, cell: str, seed: int, updates: int, data: Run[Any]) -> tuple[Trained, Compared]:
        """One training, and what there is to say of it."""
        with self.training(cell, seed, updates, data, self.callbacks) as (run, loop):
            return Trained.by(loop), self.task.part("compared")(run, loop.task.model)

    def measured(self, found: Trained) -> str:
        """What the qualities are, in the task's words."""
        return f"validation {self.task.figure_names.get(found.measure, found.measure)}"

    def seconds_of_one_update(self, cell: str, data: Run[Any]) -> float:
        """Measured on a few; neither validation nor the build of kernels is counted."""

        def measured(updates: int) -> float:
            with self.training(cell, None, updates, data) as (_, loop):
                outcome = loop.train()
            if outcome.interrupted:
                raise KeyboardInterrupt
            return outcome.seconds / max(1, outcome.step)

        return steady(measured)

    @contextmanager
    def training(
        self, cell: str, seed: int | None, updates: int, data: Run[Any], callbacks: Sequence[Callback] = ()
    ) -> Iterator[tuple[Run[Any], TrainingLoop]]:
        """A run of its own for the time of the block, and the loop that trains it."""
        config = self.configure(cell, seed, updates)
        # Gone as soon as it has been judged: each has a copy of the data.
        with TemporaryDirectory(dir=data.path.parent) as folder:
            run = begun_again(data, Path(folder, "run"), config, self.task.part("begin"))
            task: Task = self.task.part("build")(run, config, 0, 1)
            yield run, TrainingLoop(task, config.training, run, join_processes(config.training), callbacks)

    def configure(self, cell: str, seed: int | None = None, updates: int = 1) -> RunConfig:
        """The configuration of one training: as long as `updates`, however often that reads the data."""
        kind: type[RunConfig] = self.task.part("config")
        # The budget alone ends a training, and nobody goes on with it later.
        endless = {"epochs": 10**9, "checkpoint_every": 10**9}
        seeded = {} if seed is None else {"seed": seed}
        training = {**endless, **self.options.get("training", {}), "max_updates": updates, **seeded}
        sections = {**self.options, "training": training}
        place = next(name for name, section in kind.sections().items() if "cell" in section.model_fields)
        return kind.build({**sections, place: {**sections.get(place, {}), "cell": cell}})

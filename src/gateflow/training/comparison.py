"""Several cells on one text and one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gateflow.errors import ConfigError
from gateflow.tasks.language_model import perplexity
from gateflow.training.config import RunConfig
from gateflow.training.language_model import LanguageModelTask, build_model
from gateflow.training.loop import Loop
from gateflow.training.processes import join_processes
from gateflow.training.runs import Run
from gateflow.training.set_up import set_up
from gateflow.training.task import Listener, Outcome

TRIAL = 5
"""Updates from which the speed is measured when the budget is time."""


class Budget(NamedTuple):
    """Updates, or minutes of training per cell; validation is not counted."""

    updates: int | None = None
    minutes: float | None = None


class Result(NamedTuple):
    """One cell: its recurrent parameters, its speed, and the validation perplexity of every seed."""

    cell: str
    parameters: int
    updates: int
    microseconds_per_token: float
    perplexities: list[float]

    def spread(self) -> tuple[float, float]:
        """Mean and standard deviation over the seeds; the deviation of one seed is 0."""
        return fmean(self.perplexities), stdev(self.perplexities) if len(self.perplexities) > 1 else 0.0


@dataclass
class Comparison:
    """Cells trained on the text of `options` (section → option → value), all else equal.

    Raises:
        ConfigError: neither updates nor minutes are given, or both.
        DataError: the text is missing, is none, or is too small.
    """

    options: dict[str, dict[str, Any]]
    budget: Budget
    seeds: int = 1
    listeners: Sequence[Listener] = ()

    def __post_init__(self) -> None:
        if (self.budget.updates is None) == (self.budget.minutes is None):
            raise ConfigError("give the budget either as --updates or as --minutes.")

    def results(self, cells: Sequence[str]) -> Iterator[Result]:
        """One result per cell, as soon as it is done."""
        for cell in cells:  # a cell that does not exist is found before the first one has been trained
            build_model(self.configure(cell).model, vocab_size=2)
        with TemporaryDirectory() as folder:
            tokens = set_up(Path(folder, "tokens"), self.configure(cells[0]))
            for cell in cells:
                yield self.result(cell, tokens, Path(folder))

    def result(self, cell: str, tokens: Run, folder: Path) -> Result:
        """Train one cell with every seed."""
        updates = self.budget.updates or self.updates_in_time(cell, tokens, folder)
        trained = [self.train(cell, seed, updates, tokens, folder / f"{cell}-{seed}") for seed in range(self.seeds)]
        task, outcomes = trained[0][0], [outcome for _, outcome in trained]
        return Result(
            cell,
            sum(weight.numel() for weight in task.model.recurrent.parameters()),
            updates,
            1e6 * fmean(outcome.seconds / max(1, outcome.targets) for outcome in outcomes),
            [perplexity(outcome.best, 1) for outcome in outcomes if outcome.best is not None],
        )

    def updates_in_time(self, cell: str, tokens: Run, folder: Path) -> int:
        """How many updates fit into the minutes, measured on a few."""
        _, outcome = self.train(cell, 0, TRIAL, tokens, folder / f"{cell}-trial", listeners=())
        return max(1, round(60 * (self.budget.minutes or 0) / (outcome.seconds / TRIAL)))

    def train(
        self, cell: str, seed: int, updates: int, tokens: Run, path: Path, **more: Any
    ) -> tuple[LanguageModelTask, Outcome]:
        """One training in a run of its own."""
        config = self.configure(cell, seed, updates)
        run = set_up(path, config, tokens_of=tokens)
        task = LanguageModelTask(run, config)
        loop = Loop(
            task, config.training, run, join_processes(config.training), **{"listeners": self.listeners, **more}
        )
        outcome = loop.train()
        if outcome.interrupted:
            raise KeyboardInterrupt
        return task, outcome

    def configure(self, cell: str, seed: int = 0, updates: int = 1) -> RunConfig:
        """The configuration of one training: as long as `updates`, however often that reads the text."""
        endless = {"epochs": 10**9, "checkpoint_every": 10**9}
        model = {**self.options.get("model", {}), "cell": cell}
        training = {**endless, **self.options.get("training", {}), "max_updates": updates, "seed": seed}
        return RunConfig.build({**self.options, "model": model, "training": training})

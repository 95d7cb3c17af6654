"""Several cells on one text and one budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from gateflow.tasks.language_model import perplexity
from gateflow.training.budget import Budget, Result, steady
from gateflow.training.config import RunConfig
from gateflow.training.diagnosis import horizon, looking_back, stretches
from gateflow.training.language_model import LanguageModelTask, build_model
from gateflow.training.loop import Loop
from gateflow.training.processes import join_processes
from gateflow.training.runs import Run
from gateflow.training.set_up import set_up
from gateflow.training.task import Listener, Outcome


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

    def results(self, cells: Sequence[str]) -> Iterator[Result]:
        """One result per cell, as soon as it is done."""
        self.budget.check()
        for cell in cells:  # a cell that does not exist is found before the first one has been trained
            build_model(self.configure(cell).model, vocab_size=2)
        with TemporaryDirectory() as folder:
            tokens = set_up(Path(folder, "tokens"), self.configure(cells[0]))
            for cell in cells:
                yield self.result(cell, tokens, Path(folder))

    def result(self, cell: str, tokens: Run, folder: Path) -> Result:
        """Train one cell with every seed."""
        text, window = tokens.tokens_file("valid"), self.configure(cell).training.window
        reachable = len(stretches(text, looking_back(window))[0]) - 1
        updates = self.budget.in_updates(lambda: self.seconds_of_one_update(cell, tokens, folder))
        first = self.configure(cell).training.seed
        seeds = range(first, first + self.seeds)
        trained = [self.train(cell, seed, updates, tokens, folder / f"{cell}-{seed}") for seed in seeds]
        task, outcomes = trained[0][0], [outcome for _, outcome in trained]
        return Result(
            cell,
            sum(weight.numel() for weight in task.model.recurrent.parameters()),
            max(outcome.step for outcome in outcomes),  # fewer than the budget where --epochs ends before it
            1e6 * fmean(outcome.seconds / max(1, outcome.targets) for outcome in outcomes),
            [perplexity(outcome.best, 1) for outcome in outcomes if outcome.best is not None],
            [horizon(task.model, text, window) for task, _ in trained],
            reachable,
        )

    def seconds_of_one_update(self, cell: str, tokens: Run, folder: Path) -> float:
        """Measured on a few; neither validation nor the build of kernels is counted."""

        def measured(updates: int) -> float:
            place = folder / f"{cell}-trial-{updates}"
            _, outcome = self.train(cell, None, updates, tokens, place, listeners=())
            return outcome.seconds / max(1, outcome.step)

        return steady(measured)

    def train(
        self, cell: str, seed: int | None, updates: int, tokens: Run, path: Path, **more: Any
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

    def configure(self, cell: str, seed: int | None = None, updates: int = 1) -> RunConfig:
        """The configuration of one training: as long as `updates`, however often that reads the text."""
        seeded = {} if seed is None else {"seed": seed}
        endless = {"epochs": 10**9, "checkpoint_every": 10**9}
        model = {**self.options.get("model", {}), "cell": cell}
        training = {**endless, **self.options.get("training", {}), "max_updates": updates, **seeded}
        return RunConfig.build({**self.options, "model": model, "training": training})

"""Several cells on one text and one budget, each trained as a run that is thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from gateflow.studies.budget import Budget, CellResult, steady
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.diagnosis import horizon, looking_back, stretches
from gateflow.tasks.language_model.loading import build_model
from gateflow.tasks.language_model.model import perplexity
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.training.callbacks import Callback
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.task import TrainingOutcome


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
    callbacks: Sequence[Callback] = ()

    def results(self, cells: Sequence[str]) -> Iterator[CellResult]:
        """One result per cell, as soon as it is done."""
        self.budget.check()
        for cell in cells:  # a cell that does not exist is found before the first one has been trained
            # The smallest vocabulary: only names and sizes are to be checked.
            build_model(self.configure(cell).model, vocab_size=2)
        # Runs of a comparison are thrown away; their folders are what the loop needs.
        with TemporaryDirectory() as folder:
            # The text is read once, for all cells and seeds.
            tokens = set_up(Path(folder, "tokens"), self.configure(cells[0]))
            for cell in cells:
                yield self.result(cell, tokens, Path(folder))

    def result(self, cell: str, tokens: LanguageModelRun, folder: Path) -> CellResult:
        """Train one cell with every seed."""
        text, window = tokens.tokens_file("valid"), self.configure(cell).training.window
        reachable = len(stretches(text, looking_back(window))[0]) - 1
        updates = self.budget.in_updates(lambda: self.seconds_of_one_update(cell, tokens, folder))
        first = self.configure(cell).training.seed
        seeds = range(first, first + self.seeds)
        trained = [self.train(cell, seed, updates, tokens, folder / f"{cell}-{seed}") for seed in seeds]
        task, outcomes = trained[0][0], [outcome for _, outcome in trained]
        return CellResult(
            cell,
            sum(weight.numel() for weight in task.model.recurrent.parameters()),
            max(outcome.step for outcome in outcomes),  # fewer than the budget where --epochs ends before it
            1e6 * fmean(outcome.seconds / max(1, outcome.targets) for outcome in outcomes),
            [perplexity(outcome.best, 1) for outcome in outcomes if outcome.best is not None],
            [horizon(task.model, text, window) for task, _ in trained],
            reachable,
        )

    def seconds_of_one_update(self, cell: str, tokens: LanguageModelRun, folder: Path) -> float:
        """Measured on a few; neither validation nor the build of kernels is counted."""

        def measured(updates: int) -> float:
            place = folder / f"{cell}-trial-{updates}"
            _, outcome = self.train(cell, None, updates, tokens, place, callbacks=())
            return outcome.seconds / max(1, outcome.step)

        return steady(measured)

    def train(
        self, cell: str, seed: int | None, updates: int, tokens: LanguageModelRun, path: Path, **more: Any
    ) -> tuple[LanguageModelTask, TrainingOutcome]:
        """One training in a run of its own."""
        config = self.configure(cell, seed, updates)
        run = set_up(path, config, tokens_of=tokens)
        task = LanguageModelTask(run, config)
        loop = TrainingLoop(
            task, config.training, run, join_processes(config.training), **{"callbacks": self.callbacks, **more}
        )
        outcome = loop.train()
        if outcome.interrupted:
            # Half a training is no result; the loop has swallowed the signal.
            raise KeyboardInterrupt
        return task, outcome

    def configure(self, cell: str, seed: int | None = None, updates: int = 1) -> LanguageModelConfig:
        """The configuration of one training: as long as `updates`, however often that reads the text."""
        seeded = {} if seed is None else {"seed": seed}
        # The budget alone ends a training, and nobody goes on with it later.
        endless = {"epochs": 10**9, "checkpoint_every": 10**9}
        model = {**self.options.get("model", {}), "cell": cell}
        training = {**endless, **self.options.get("training", {}), "max_updates": updates, **seeded}
        return LanguageModelConfig.build({**self.options, "model": model, "training": training})

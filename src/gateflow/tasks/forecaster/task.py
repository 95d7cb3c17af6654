"""Forecasting as a `Task` of the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from gateflow.runs.weights import read_header
from gateflow.tasks.forecaster.batches import SeriesBatch, Stretches
from gateflow.tasks.forecaster.calibration import WIDENINGS, best_widenings, gathered, pinball_at
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import own_series
from gateflow.tasks.forecaster.evaluation import backtest, came_after
from gateflow.tasks.forecaster.loading import build_model, load_layout, refuse_other_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.model import ForecasterModel, pinball
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.training.checkpoint import Start, State
from gateflow.training.task import Metric

__all__ = ["ForecasterTask"]


class ForecasterTask:
    """The `Task` of forecasting the next steps of series from each of their steps.

    A validation is a backtest from every step of the last part of each series; it is judged by MASE. It also fits how
    far quantiles are moved away from the median, which is a buffer of the model and kept with it.

    Raises:
        ConfigError: more processes than stretches in a batch.
        RunError: a file of the run is damaged, or the checkpoint is not one of this network.
    """

    unit = "values"

    def __init__(self, run: ForecasterRun, config: ForecasterConfig, rank: int = 0, world_size: int = 1) -> None:
        layout = load_layout(run)
        # Before the model is built: a config.toml that asks for another one may ask for more memory than there is.
        weights = read_header(run.checkpoint_file).group("model.")
        refuse_other_model(weights, config, layout, run.checkpoint_file)
        self.model: ForecasterModel = build_model(config, layout)
        self.series = own_series(run)
        self.levels, self.horizon = config.data.levels(), config.data.horizon
        size, seed = config.training.batch_size, config.training.seed
        self.stretches = Stretches(self.series, config.training.window, size, seed, rank, world_size)
        # Each process validates its share.
        self.valid = self.series[rank::world_size]

    @property
    def metric(self) -> Metric:
        """The mean absolute error, scaled."""
        return "mase", "min"

    def start(self) -> Start:
        """Nothing: each stretch is read from an empty state."""
        return []

    def batches_per_epoch(self) -> int:
        """Batches in one pass over the series."""
        return len(self.stretches)

    def batches(self, epoch: int, start: int) -> Iterator[SeriesBatch]:
        """The batches in an order, and of places, that seed and epoch decide."""
        return self.stretches.batches(epoch, start)

    def loss(self, model: nn.Module, batch: SeriesBatch, carried: State) -> tuple[Tensor, int, State]:
        """Mean pinball loss of all values that are known."""
        here = batch.to(self.model.head.weight.device)
        found = model(here.read, here.ahead, here.lengths)
        total, count = pinball(found, here.wanted, self._quantiles)
        return total / max(1, count), count, None

    @torch.no_grad()
    def validate(self, model: nn.Module) -> tuple[dict[str, float], int]:
        """Sums over the forecasts of the last parts, as the network makes them; and what calibration needs."""
        found, ends = Measures.empty(self.levels, self.horizon), [each.seen for each in self.valid]
        forecasts = backtest(self.model, self.valid, ends, found, calibrated=False)
        losses = np.zeros((len(WIDENINGS), len(self.levels)))
        for each, end, quantiles in zip(self.valid, ends, forecasts, strict=True):
            losses += pinball_at(quantiles, came_after(each, end), each.scale, self.levels)
        sums = {"loss": found.pinball, "mase": found.scaled, "coverage": found.covered}
        return {
            **{name: float(np.sum(each)) for name, each in sums.items()},
            **{f"_losses_{i}": loss for i, loss in enumerate(losses.flatten().tolist())},
        }, int(found.counts.sum())

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """How far quantiles are moved, which the model takes: whoever keeps its weights now keeps that too."""
        if set(means) == {"loss"}:  # of a record of the training
            return {}
        widenings = best_widenings(gathered(means, "_losses", len(self.levels)))
        self.model.widening.copy_(torch.tensor(widenings))
        return {"widening": (widenings[0] + widenings[-1]) / 2}

    @cached_property
    def _quantiles(self) -> Tensor:
        return torch.tensor(self.levels, device=self.model.head.weight.device)

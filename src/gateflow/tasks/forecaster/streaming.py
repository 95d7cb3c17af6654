"""A forecaster that is told one value after the other: each forecast takes one step of the layers, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gateflow.data.series.spacing import Spacing
from gateflow.errors import DataError, ShapeError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.forecaster.layout import Layout
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prepared import SEASONS, Prepared, arranged, refuse_too_large
from gateflow.tasks.forecaster.seasonal import naive

__all__ = ["Stream"]

Numbers = NDArray[np.float32]


class Stream:
    """The state of a forecaster after the steps of a series, and its forecast from the last.

    Attributes:
        forecast: quantiles ``[horizon, N, Q]`` of the next steps.

    Args:
        model, layout: of a run.
        history: the steps up to now, prepared for the run; its scales stay.
        spacing: of its times.
        season: steps.
    """

    def __init__(
        self, model: ForecasterModel, layout: Layout, history: Prepared, spacing: Spacing | None, season: int
    ) -> None:
        self.model, self.layout, self.spacing, self.season = model, layout, spacing, season
        self.level, self.horizon = history.level, model.horizon
        # As far back as anything is read from: the seasons before, and what a missing value is filled from.
        self.kept = season * (SEASONS + -(-self.horizon // season)) + 1
        steps = len(history)
        self.targets, self.filled = history.targets[-self.kept :], history.filled[-self.kept :]
        self.others = history.others[max(0, steps - self.kept) :]
        self.times = None if history.times is None else history.times[max(0, steps - self.kept) :]
        with torch.inference_mode(), evaluating(model):
            read = torch.from_numpy(history.read)[:, None]
            output, self.state = model.recurrent(read.to(model.head.weight.device))
        self.forecast = self._forecast(output[-1], history.ahead[steps:])

    def update(
        self, values: ArrayLike, covariates: ArrayLike | None = None, future: ArrayLike | None = None
    ) -> Numbers:
        """Tell the next step; the new forecast.

        Args:
            values: ``[N]``, one number for each target; NaN for one that is missing.
            covariates: ``[past + future]`` of this step, NaN where unknown. Default: what was said of it before, if
                anything.
            future: ``[horizon, future]``, what is known of the steps after it.

        Raises:
            ShapeError: there are not as many numbers.
            DataError: one is infinite.
        """
        layout, now = self.layout, len(self.targets)
        row = _shaped(values, (len(layout.targets),), "values")
        before = self.filled[-self.season] if now >= self.season else self.level.mean
        self.targets = np.concatenate([self.targets, row[None]])[-self.kept :]
        self.filled = np.concatenate([self.filled, np.where(np.isfinite(row), row, before)[None]])[-self.kept :]
        unknown = np.full((1, self.others.shape[1]), np.nan, dtype=np.float32)
        self.others = np.concatenate([self.others, unknown])
        if covariates is not None:
            self.others[now] = _shaped(covariates, self.others.shape[1:], "covariates")
        if future is not None:
            found = _shaped(future, (self.horizon, len(layout.future)), "future")
            self.others[now + 1 :, len(layout.past) :] = found
        if self.times is not None and self.spacing is not None:
            self.times = np.concatenate([self.times, self.spacing.after(self.times, 1)])
        dropped = len(self.others) - self.horizon - len(self.targets)
        self.others = self.others[dropped:]
        self.times = None if self.times is None else self.times[dropped:]
        return self._step()

    @torch.inference_mode()
    def _step(self) -> Numbers:
        read, ahead = arranged(self.targets, self.filled, self.others, self.times, self.level, self.layout, self.season)
        device = self.model.head.weight.device
        with evaluating(self.model):
            output, self.state = self.model.recurrent.step(torch.from_numpy(read[-1:]).to(device), self.state)
        self.forecast = self._forecast(output, ahead[len(self.targets) :])
        return self.forecast

    @torch.inference_mode()
    def _forecast(self, output: Any, ahead: Numbers) -> Numbers:
        known = torch.from_numpy(ahead).to(output.device)
        with evaluating(self.model):
            found = self.model.calibrated(self.model.departures(output[None], known[None, None])[0, 0]).cpu().numpy()
        base = naive(self.filled, self.season, self.horizon)[-1]
        return base[..., None] + self.level.scale[:, None] * found


def _shaped(given: ArrayLike, shape: tuple[int, ...], name: str) -> Numbers:
    with np.errstate(over="ignore"):  # told below, in words
        found = np.asarray(given, dtype=np.float32)
    if found.shape != shape:
        raise ShapeError(f"{name} has the shape {list(found.shape)}, and {list(shape)} is needed.")
    if np.isinf(found).any():
        raise DataError(f"{name} holds what is infinite, or more than float32 can hold. NaN says that one is missing.")
    refuse_too_large(found, name)
    return found

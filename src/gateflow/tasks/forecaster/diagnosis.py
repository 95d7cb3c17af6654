"""The gradient flow of a forecaster: how far back lies what a forecast has learnt from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gateflow.flow import Finding, Report
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.description import Compared
from gateflow.tasks.diagnosis import diagnose_with_history, horizon_of
from gateflow.tasks.forecaster.batches import SeriesBatch, side_by_side
from gateflow.tasks.forecaster.config import SeriesConfig
from gateflow.tasks.forecaster.data import own_series, read_for
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.model import ForecasterModel, pinball
from gateflow.tasks.forecaster.prepared import Prepared
from gateflow.tasks.forecaster.run import ForecasterRun

__all__ = ["compared", "diagnose_run", "shares_by_lag"]

# Series in a report, and their steps: reach is a matrix of steps by steps.
REPORTED, LONGEST = 8, 200


def diagnose_run(run: ForecasterRun, data: Path | None = None, needed_lag: int | None = None) -> Report:
    """What keeps the gradients of a forecaster from reaching farther, on its series or on others.

    One finding is in the task's words: of the gradient of a forecast, how much arrives within the last season.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or lacks a channel that the run reads.
        FlowError: a needed lag below 1.
    """
    layout, config = load_layout(run), run.config().data
    model = load_model(run, layout)
    series = own_series(run) if data is None else read_for(data, config, layout)
    batch = last_steps(sorted(series, key=len, reverse=True)[:REPORTED])
    report = diagnose_with_history(run, model, batch, _loss_of(config), needed_lag=needed_lag)
    return replace(report, findings=(*report.findings, _of_a_forecast(model, batch, config.season)))


def compared(run: ForecasterRun, model: ForecasterModel) -> Compared:
    """What a comparison tells of a network: how far the gradient reaches on the last steps of the longest series."""
    batch = last_steps(sorted(own_series(run), key=len, reverse=True)[:REPORTED]).to(model.head.weight.device)
    found = horizon_of(model, batch, _loss_of(run.config().data))
    parameters = sum(weight.numel() for weight in model.recurrent.parameters())
    return Compared(parameters, found, len(batch.read) - 1, "value")


def _loss_of(config: SeriesConfig) -> Callable[[Any, Any], Tensor]:
    """The mean pinball loss of a batch."""

    def loss(model: ForecasterModel, batch: SeriesBatch) -> Tensor:
        levels = torch.tensor(config.levels(), device=batch.read.device)
        total, count = pinball(model(batch.read, batch.ahead, batch.lengths), batch.wanted, levels)
        return total / max(1, count)

    return loss


def shares_by_lag(model: ForecasterModel, batch: SeriesBatch) -> Tensor:
    """``[T]``, what part of the last forecast's gradient arrives at each number of steps back, the last step first.

    ``‖∂ Σ_k d_{T,k} / ∂x_{T-j}‖``, of the medians `d`, as a share of the sum over `j`; of the batch's first series.
    """
    steps = int(batch.lengths[0])
    with evaluating(model):
        read = batch.read[:steps, :1].clone().requires_grad_()
        found = model.departures(model.states(read, batch.lengths[:1]), model.windows(batch.ahead[:, :1])[:steps])
        (gradient,) = torch.autograd.grad(found[-1, ..., found.shape[-1] // 2].sum(), read)
    norms = gradient[:, 0].norm(dim=-1).flip(0)
    return norms / norms.sum().clamp_min(torch.finfo(norms.dtype).tiny)


def last_steps(series: list[Prepared]) -> SeriesBatch:
    """The last steps of which it is known what came after at least one of them."""
    parts = []
    for each in series:
        end = max(1, len(each) - 1)
        begin = max(0, end - LONGEST)
        horizon = each.naive.shape[1]
        parts.append((each.read[begin:end], each.ahead[begin : end + horizon], each.departure()[begin:end]))
    return side_by_side(parts)


def _of_a_forecast(model: ForecasterModel, batch: SeriesBatch, season: int) -> Finding:
    shares = shares_by_lag(model, batch)
    within = max(1, min(season, len(shares)))
    recent, older = float(shares[:within].sum()), float(shares[within:].sum())
    half = int((shares.cumsum(0) < 0.5).sum())
    what = f"the last {within} steps, a season" if season > 1 else "the last step"
    return Finding(
        "forecast-gradient",
        "healthy",
        f"the forecast from the last of {len(shares)} steps",
        f"Of the gradient of the forecast, {recent:.0%} arrives within {what}, and {older:.0%} farther back; half of "
        f"it arrives within {half + 1} steps.",
        {"within a season": recent, "farther back": older, "half within": half + 1},
        "Simonyan, Vedaldi, Zisserman (2014), arXiv:1312.6034",
        "",
        "",
    )

"""A stream that is told step after step forecasts as one pass over the whole does, whatever is forecast from what."""

import numpy as np
import pytest
import torch

from gateflow.data.series import Series
from gateflow.data.series.spacing import spacing_of
from gateflow.tasks.forecaster.layout import Layout
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import ahead_width, prepared, read_width
from gateflow.tasks.forecaster.streaming import Stream

STEPS, BEGIN = 70, 31
TARGETS, PAST, FUTURE = ("a", "b"), ("c",), ("d", "e")


@pytest.mark.parametrize("season", [1, 3, 12])
@pytest.mark.parametrize("horizon", [1, 5, 14])
@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("future", [FUTURE, ()])
def test_told_one_by_one(season, horizon, dated, future):
    random = np.random.default_rng([season, horizon, dated, len(future)])
    torch.manual_seed(0)
    values = random.normal(size=(STEPS + horizon, 3 + len(future))).cumsum(axis=0).astype(np.float32)
    values[random.random(values.shape) < 0.15] = np.nan
    values[BEGIN - 1, :2] = 1.0  # the last before the stream begins is known, so that it begins there
    times = np.datetime64("2026-01-01", "us") + np.arange(len(values)) * np.timedelta64(7, "h") if dated else None
    known = len(PAST) + len(future)
    layout = Layout(
        targets=TARGETS,
        past=PAST,
        future=future,
        dated=dated,
        season=season,
        quantiles=(0.1, 0.5, 0.9),
        means=tuple(random.normal(size=known)),
        deviations=tuple(random.uniform(1, 2, size=known)),
    )
    model = ForecasterModel(
        read_width(layout), ahead_width(layout, season), targets=2, horizon=horizon, quantiles=(0.1, 0.5, 0.9)
    )
    torch.nn.init.normal_(model.head.weight, std=0.3)
    model.widening.copy_(torch.tensor([2, 1, 0.5]))
    spacing = None if times is None else spacing_of(times)

    def ready(steps, ahead):
        """The first steps; of those ahead only what is known before."""
        given = values[: steps + ahead].copy()
        given[steps:, :3] = np.nan
        of = Series(given, "x", times=None if times is None else times[: steps + ahead])
        return prepared(of, spacing, layout, horizon=horizon, season=season, seen=BEGIN)

    ahead = horizon if future else 0
    stream = Stream(model, layout, ready(BEGIN, ahead), spacing, season)
    whole = ready(STEPS, ahead)
    (wanted,) = forecasts(model, [whole], [BEGIN - 1])
    np.testing.assert_allclose(stream.forecast, wanted[0], rtol=1e-4, atol=1e-4)
    for t in range(BEGIN, len(whole)):
        row = values[t]
        found = stream.update(row[:2], row[2:], values[t + 1 : t + 1 + horizon, 3:] if future else None)
        np.testing.assert_allclose(found, wanted[t - BEGIN + 1], rtol=1e-4, atol=1e-4, err_msg=str(t))

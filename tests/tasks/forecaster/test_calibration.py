"""Intervals are as wide as what came on the validation part asks for, whoever summed it up."""

import numpy as np
import pytest
import torch

from gateflow.tasks.forecaster.calibration import WIDENINGS, best_widenings, gathered, pinball_at
from gateflow.tasks.forecaster.data import own_series
from gateflow.tasks.forecaster.evaluation import backtest
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.task import ForecasterTask

LEVELS = (0.1, 0.25, 0.5, 0.9)
TRUE = np.array([-1.2816, -0.6745, 0.0, 1.2816])


def values(count=20_000):
    """Of two targets in different units, some of them unknown."""
    found = np.random.default_rng(0).normal(size=(count, 1, 2)) * [1, 100]
    found[::7, 0, 1] = np.nan
    return found


@pytest.mark.parametrize("factors", [(1, 1, 1, 1), (2, 1.3, 1, 0.5), (0.4, 3, 1, 5)])
def test_quantiles_come_where_they_belong(factors):
    """Of each quantile by itself: what is too near by a factor is moved away by it."""
    middle, scale = 10.0, np.array([1.0, 100.0])
    forecast = middle + scale[:, None] * TRUE / factors
    wanted = middle + values()
    forecasts = np.broadcast_to(forecast, (*wanted.shape, len(LEVELS)))
    found = best_widenings(pinball_at(forecasts, wanted, scale, LEVELS))
    np.testing.assert_allclose(found, factors, rtol=0.06)
    moved = middle + np.array(found) * (forecast - middle)
    known = np.isfinite(wanted)
    below = [(wanted[known] <= np.broadcast_to(moved[..., q], wanted.shape)[known]).mean() for q in range(4)]
    np.testing.assert_allclose(below, LEVELS, atol=0.02)


def test_two_processes_sum_up_what_one_does():
    wanted, forecasts = values(100), np.random.default_rng(1).normal(size=(100, 1, 2, 4)).cumsum(axis=-1)
    whole = pinball_at(forecasts, wanted, np.ones(2), LEVELS)
    parts = [pinball_at(forecasts[part], wanted[part], np.ones(2), LEVELS) for part in (slice(30), slice(30, None))]
    np.testing.assert_allclose(sum(parts), whole)
    means = {f"_losses_{i}": x for i, x in enumerate(whole.flatten().tolist())}
    np.testing.assert_array_equal(gathered(means, "_losses", 4), whole)


def test_nothing_known_moves_nothing():
    wanted = np.full((5, 1, 2), np.nan)
    assert best_widenings(pinball_at(np.zeros((5, 1, 2, 4)), wanted, np.ones(2), LEVELS)) == [1, 1, 1, 1]
    far = pinball_at(np.broadcast_to(TRUE, (5, 1, 2, 4)), np.full((5, 1, 2), 100.0), np.ones(2), LEVELS)
    assert best_widenings(far)[-1] == WIDENINGS[-1], "no farther than was tried"


def test_the_median_stays_and_quantiles_do_not_cross():
    model = ForecasterModel(5, 0, targets=1, horizon=4, quantiles=LEVELS, hidden_size=8)
    model.widening.copy_(torch.tensor([0.3, 4, 1, 0.5]))
    given = torch.randn(50, 4)
    found = model.calibrated(given)
    assert (found.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(found[:, 2], given.sort(dim=-1).values[:, 2])


def test_a_run_keeps_the_factors_with_its_weights(trained):
    model = load_model(trained, load_layout(trained))
    assert (model.widening[[0, 2]] != 1).all()
    assert model.widening[1] == 1
    task = ForecasterTask(trained, trained.config())
    task.model.load_state_dict(model.state_dict())
    sums, count = task.validate(task.model)
    task.figures({name: total / count for name, total in sums.items()})
    torch.testing.assert_close(task.model.widening, model.widening)
    series = own_series(trained)
    covered = {}
    for calibrated in (True, False):
        measures = Measures.empty((0.1, 0.5, 0.9), task.horizon)
        backtest(model, series, [each.seen for each in series], measures, calibrated=calibrated)
        covered[calibrated] = measures.figures()
    assert covered[True]["mase"] == pytest.approx(covered[False]["mase"])
    assert covered[True]["pinball"] < covered[False]["pinball"]
    assert covered[True]["coverage"] == pytest.approx(0.8, abs=0.06)

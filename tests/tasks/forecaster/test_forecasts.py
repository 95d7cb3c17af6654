"""Forecasts: better than naive ones, blind to what comes after, and the same in any batch, in a stream and on disk."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.tasks.forecaster.conftest import HORIZON, SEASON, go_on, rows, train, write

from gateflow import Forecaster
from gateflow.data.series import Series
from gateflow.data.series.spacing import spacing_of
from gateflow.errors import DataWarning
from gateflow.tasks.description import Given
from gateflow.tasks.forecaster.batches import Stretches
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import own_series, read_for, set_up
from gateflow.tasks.forecaster.evaluation import backtest, evaluate_run
from gateflow.tasks.forecaster.forecasting import forecast_series, labels_of_steps
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.model import ForecasterModel, pinball
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import prepared
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.tasks.forecaster.streaming import Stream
from gateflow.training.callbacks import Callback


@pytest.fixture(scope="module")
def loaded(trained):
    layout = load_layout(trained)
    return load_model(trained, layout), layout, own_series(trained)


def test_it_is_better_than_the_seasonal_naive_forecast(trained):
    figures = evaluate_run(Given(trained), None, None, None).json["forecasts"]
    assert figures["run"]["mase"] < 0.8 * figures["seasonal naive"]["mase"] < figures["last value"]["mase"]
    assert 0.5 < figures["run"]["coverage"] < 0.97


def test_what_comes_after_changes_no_forecast(loaded):
    """Other values behind an origin, and forecasts from it are the same to the bit: nothing leaks from the future."""
    model, layout, (series, _) = loaded
    origin = 150
    raw = np.concatenate([series.targets, series.others[: len(series)]], axis=1)
    other = raw.copy()
    other[origin + 1 :, 0] = 1e3
    found = []
    for values in (raw, other):
        of = Series(values, "x", times=series.times[: len(series)], channel_names=layout.channels)
        ready = prepared(of, spacing_of(series.times), layout, horizon=HORIZON, season=SEASON, seen=origin + 1)
        found.append(next(forecasts(model, [ready], [origin]))[0])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("leading", [0, 20])
def test_what_is_judged_on_decides_no_scale(tmp_path, trained, leading):
    """Neither in `evaluate --data` nor for a run's own held-out part; with a gap at the beginning too."""
    values, steps = rows(0), 40
    values[:leading, 0] = np.nan
    other = values.copy()
    other[-4:, 0] += 500
    found = []
    for each in (values, other):
        file = write(tmp_path / "a.csv", {"a": each})
        evaluate_run(Given(trained), file, steps, tmp_path / "out.csv")
        with (tmp_path / "out.csv").open() as out:
            origin = str(np.datetime64("2026-01-01T00:00:00") + np.timedelta64(len(each) - steps - 1, "h"))
            found.append([row["q0.5"] for row in csv.DictReader(out) if row["from"] == origin])
        run = set_up(
            tmp_path / f"run{len(found)}", ForecasterConfig.build({"data": {"train": file, "future": "holiday"}})
        )
        found.append(own_series(run)[0].read[: own_series(run)[0].seen].tolist())
    assert len(found[0]) == HORIZON
    assert found[0] == found[2]
    assert found[1] == found[3]


def test_an_untrained_network_is_the_naive_forecast_with_its_usual_error():
    model = ForecasterModel(5, 0, targets=1, horizon=4, quantiles=(0.1, 0.5, 0.9), hidden_size=8)
    found = model(torch.randn(10, 2, 5), torch.zeros(14, 2, 0), torch.tensor([10, 7]))
    # Of a normal error with a mean size of 1: 1.2533 · 1.2816.
    torch.testing.assert_close(found, torch.tensor([-1.6062, 0, 1.6062]).expand(found.shape), atol=1e-3, rtol=0)


def test_a_covariate_that_is_known_ahead_is_read_ahead(loaded):
    model, layout, (series, _) = loaded
    found = []
    for lifted in (0, 1):
        ahead = series.others.copy()
        ahead[len(series) + 1] = lifted
        raw = np.concatenate([np.pad(series.targets, ((0, HORIZON), (0, 0)), constant_values=np.nan), ahead], axis=1)
        of = Series(raw, "x", times=series.times, channel_names=layout.channels)
        ready = prepared(of, spacing_of(series.times), layout, horizon=HORIZON, season=SEASON, seen=series.seen)
        assert len(ready) == len(series)
        found.append(next(forecasts(model, [ready]))[0, :, 0, 1])
    gain = found[1] - found[0]
    assert gain[1] > 4, "a holiday lifts the load by 8"
    assert np.abs(np.delete(gain, 1)).max() < 1e-5


def test_a_series_is_forecast_alike_in_any_batch(loaded):
    model, _, series = loaded
    together = list(forecasts(model, series, [40, 150]))
    alone = [next(forecasts(model, [each], [first])) for each, first in zip(series, [40, 150], strict=True)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert (np.diff(together[0], axis=-1) >= 0).all(), "quantiles do not cross"


def test_a_stream_gives_the_forecasts_of_the_whole(loaded):
    model, layout, (series, _) = loaded
    begin = 120
    whole = next(forecasts(model, [series], [begin - 1]))
    raw = np.concatenate([series.targets, series.others[: len(series)]], axis=1)
    raw = np.concatenate([raw[:begin], np.stack([np.full(HORIZON, np.nan), raw[begin : begin + HORIZON, 1]], axis=1)])
    of = Series(raw.astype(np.float32), "x", times=series.times[: begin + HORIZON], channel_names=layout.channels)
    history = prepared(of, spacing_of(series.times), layout, horizon=HORIZON, season=SEASON)
    history = replace(history, level=series.level, read=series.read[:begin], ahead=series.ahead[: begin + HORIZON])
    stream = Stream(model, layout, history, spacing_of(series.times), SEASON)
    np.testing.assert_allclose(stream.forecast, whole[0], rtol=1e-5)
    for t in range(begin, len(series)):
        future = series.others[t + 1 : t + 1 + HORIZON]
        found = stream.update(series.targets[t], future=future)
        np.testing.assert_allclose(found, whole[t - begin + 1], rtol=1e-5, err_msg=str(t))


@pytest.mark.parametrize("missing", [1, 3])
def test_an_end_without_values_is_the_same_to_a_stream_and_to_the_whole(missing):
    """A forecast goes on from the last step that was given, whether its value was measured or not."""
    y = 10 * np.sin(np.arange(200) * 2 * np.pi / 12) + np.random.default_rng(0).normal(size=200)
    forecaster = Forecaster(horizon=4, season=12, hidden_size=8, window=40, epochs=2).fit(y)
    gone = np.concatenate([y, np.full(missing, np.nan)])
    whole, stream = forecaster.predict_quantiles(gone), forecaster.stream(y)
    for _ in range(missing):
        stream.update([np.nan])
    # The step to come after a gap is the step of the season that follows it.
    naive = y[200 + missing - 12 :][:4]
    assert np.abs(whole[:, 1] - naive).max() < np.abs(whole[:, 1] - y[-12:-8]).max()
    np.testing.assert_allclose(stream.forecast[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(forecaster.stream(gone).forecast[:, 0], whole, rtol=1e-6)


def test_rows_to_come_end_with_what_is_known_ahead(loaded):
    """A row with a value of a channel that is known up to now only was measured, and is no row to come."""
    _, layout, (series, _) = loaded
    raw = np.concatenate([series.targets, series.others[: len(series)]], axis=1)
    raw[-3:, 0] = np.nan
    of = Series(raw, "x", times=series.times[: len(series)], channel_names=layout.channels)
    spacing = spacing_of(series.times)
    assert len(prepared(of, spacing, layout, horizon=HORIZON, season=SEASON)) == len(series) - 3
    measured = layout.model_copy(update={"past": layout.future, "future": ()})
    assert len(prepared(of, spacing, measured, horizon=HORIZON, season=SEASON)) == len(series)
    # What is judged by values ends with the last of them.
    assert len(prepared(of, spacing, measured, horizon=HORIZON, season=SEASON, unseen=5)) == len(series) - 3


@pytest.mark.parametrize(
    ("begin", "step", "to_come"),
    [
        ("2026-01-01T00:00+01:00", "1h", "2026-01-06T23:00:00Z"),
        ("2026-01-01T00:00", "1h", "2026-01-07T00:00:00"),
        ("2026-01-01", "1D", "2026-05-25"),
        ("2026-01-01", "500ms", "2026-01-01T00:01:12.000000"),
    ],
)
def test_steps_to_come_are_named_as_exactly_as_they_are_known(tmp_path, begin, step, to_come):
    zone, (count, unit) = begin[16:], re.fullmatch(r"(\d+)(\w+)", step).groups()
    moments = np.datetime64(begin[:16]) + np.arange(144) * np.timedelta64(int(count), unit)
    file = tmp_path / "table.csv"
    file.write_text("time,load\n" + "".join(f"{moment}{zone},{t % 7}\n" for t, moment in enumerate(moments)))
    run = set_up(tmp_path / "run", ForecasterConfig.build({"data": {"train": file, "horizon": 4}}))
    for (series,) in (own_series(run), read_for(file, run.config().data, load_layout(run))):
        names = labels_of_steps(series)
        assert names[144] == to_come
        assert len(set(names)) == 148


def test_a_run_killed_and_resumed_reads_the_same_batches(trained, loaded):
    series = loaded[2]
    stretches = Stretches(series, window=48, batch_size=2, seed=3)
    whole = list(stretches.batches(epoch=2))
    assert len(whole) == len(stretches) > 2
    for ours, again in zip(list(stretches.batches(epoch=2, start=2)), whole[2:], strict=True):
        assert torch.equal(ours.read, again.read)
    assert not torch.equal(whole[0].read, next(stretches.batches(epoch=3)).read)


def test_two_processes_share_a_batch(loaded):
    alone = next(Stretches(loaded[2], 48, 4, seed=0).batches(0))
    halves = [next(Stretches(loaded[2], 48, 4, seed=0, rank=r, world_size=2).batches(0)) for r in (0, 1)]
    assert sum(int(half.lengths.sum()) for half in halves) == int(alone.lengths.sum())


def test_training_never_sees_what_is_held_out(loaded):
    series = loaded[2]
    stretches = Stretches(series, window=48, batch_size=64, seed=0)
    for number, each in enumerate(series):
        departures = stretches.departures[number]
        assert len(departures) == each.seen < len(each)
        last = each.seen - 1 - np.arange(1, HORIZON + 1)
        for ahead, step in enumerate(last):
            assert np.isfinite(departures[step, ahead]).all()
            assert np.isnan(departures[step + 1 :, ahead]).all()


def test_missing_values_are_read_and_not_counted(tmp_path, trained, loaded):
    values = rows(0)
    values[100:103, 0] = np.nan
    (series,) = read_for(write(tmp_path / "a.csv", {"a": values}), trained.config().data, loaded[1])
    assert np.isfinite(series.read).all()
    assert np.isfinite(series.naive).all()
    assert np.isnan(series.departure()[99, :3]).all()
    measures = Measures.empty((0.1, 0.5, 0.9), HORIZON)
    backtest(loaded[0], [series], [99], measures)
    assert measures.counts[0] == len(series) - 99 - 3


def test_measures_by_hand():
    measures = Measures.empty((0.1, 0.5, 0.9), 2)
    quantiles = np.array([[[[0.0, 1.0, 2.0]], [[5.0, 6.0, 7.0]]]])
    measures.add(quantiles, np.array([[[1.5], [9.0]]]), np.array([2.0]))
    measures.add(quantiles, np.array([[[np.nan], [6.0]]]), np.array([2.0]))
    found = measures.figures()
    assert found["mae"] == pytest.approx((0.5 + 3 + 0) / 3)
    assert found["rmse"] == pytest.approx(((0.25 + 9 + 0) / 3) ** 0.5)
    assert found["mase"] == pytest.approx((0.25 + 1.5 + 0) / 3)
    assert found["coverage"] == pytest.approx(2 / 3)
    losses = [(0.1 * 1.5 + 0.25 + 0.1 * 0.5), (0.1 * 4 + 1.5 + 0.9 * 2), (0.1 + 0 + 0.1)]
    assert found["pinball"] == pytest.approx(sum(losses) / 3 / 2 / 3)


def test_the_pinball_loss_is_least_at_the_quantile():
    values = torch.randn(20_001)
    levels = torch.tensor([0.1, 0.5, 0.9])
    wanted = values.quantile(levels)
    best, count = pinball(wanted.expand(len(values), 3), values, levels)
    assert count == len(values)
    for change in (0.05, -0.05):
        for q in range(3):
            other = wanted + change * torch.nn.functional.one_hot(torch.tensor(q), 3)
            assert pinball(other.expand(len(values), 3), values, levels)[0] > best


def test_forecasts_as_lines_with_the_times_to_come(trained):
    with pytest.warns(
        DataWarning, match="holiday is not known for 6 of the 6 steps ahead of series a, nor for all of 1"
    ):
        head, *lines = [text for text, _ in forecast_series(Given(trained), None).items]
    assert head.split("\t") == ["series", "step", "target", "q0.1", "q0.5", "q0.9"]
    assert len(lines) == 2 * HORIZON
    assert lines[0].split("\t")[:3] == ["a", "2026-01-11T00:00:00", "load"]


def test_series_without_names_are_told_apart_by_their_numbers(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.sin(np.arange(300.0)).reshape(2, 150))
    forecaster = Forecaster(horizon=2, epochs=1, hidden_size=4, window=20, out=tmp_path / "run").fit(tmp_path / "a.npz")
    lines = [text.split("\t")[0] for text, _ in forecast_series(Given(forecaster.run_), None).items]
    assert lines == ["series", "1", "1", "2", "2"]
    evaluate_run(Given(forecaster.run_), None, None, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        assert {row["series"] for row in csv.DictReader(file)} == {"1", "2"}
    assert forecaster.predict().keys() == {"1", "2"}


def test_predictions_hold_what_was_forecast_and_what_came(tmp_path, trained, table):
    evaluate_run(Given(trained), table, 10, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    # From each of ten steps on as many steps as are known.
    assert len(found) == 2 * sum(min(HORIZON, 10 - k) for k in range(10))
    assert {row["target"] for row in found} == {"load"}
    assert all(float(row["q0.1"]) <= float(row["q0.5"]) <= float(row["q0.9"]) for row in found)


def test_several_targets_without_times(tmp_path):
    t = np.arange(150)
    y = {name: np.stack([np.sin(t / 3), np.cos(t / 3) * 100 + 5], axis=1) for name in ("x", "y")}
    forecaster = Forecaster(horizon=4, season=1, epochs=2, hidden_size=8, window=32, out=tmp_path / "run").fit(y)
    found = forecaster.predict()
    assert {name: each.shape for name, each in found.items()} == {"x": (4, 2), "y": (4, 2)}
    again = Forecaster.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict()["x"], found["x"])
    assert again.predict_quantiles({"z": y["x"][:90]}).shape == (4, 2, 3)
    for ours, name in zip(own_series(again.run_), y, strict=True):
        np.testing.assert_array_equal(ours.targets, y[name].astype(np.float32))
    # Scales are those of what training has seen, or of the whole of another series: nearly the same.
    assert again.backtest(steps=20)["mae"] == pytest.approx(again.backtest(y, steps=20)["mae"], rel=0.05)


class KilledError(Exception):
    pass


class Kill(Callback):
    """The end of a process after some updates, whose last checkpoint is older."""

    def step(self, progress, total):
        if progress.step == 5:
            raise KilledError


def test_resuming_is_exact(tmp_path, table):
    options = {"epochs": 4, "checkpoint_every": 2, "batch_size": 4}
    whole = train(tmp_path / "whole", table, training=options)
    with pytest.raises(KilledError):
        train(tmp_path / "killed", table, training=options, callbacks=[Kill()])
    killed = ForecasterRun.open(tmp_path / "killed")
    go_on(killed)
    for name in ("model.safetensors", "checkpoint/last.safetensors"):
        ours, again = load_file(whole.path / name), load_file(killed.path / name)
        assert ours.keys() == again.keys()
        assert all(torch.equal(ours[key], again[key]) for key in ours)

"""Steps of a training have one length, and what is forecast later has the same."""

import json

import numpy as np
import pytest

from gateflow import Forecaster
from gateflow.errors import DataError
from gateflow.tasks.description import Given
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import set_up
from gateflow.tasks.forecaster.evaluation import evaluate_run
from gateflow.tasks.forecaster.forecasting import forecast_series
from gateflow.tasks.forecaster.layout import Layout, read_layout

pd = pytest.importorskip("pandas", reason="of the dev dependencies")

VALUES = np.sin(np.arange(90.0))
FEW = {"horizon": 3, "epochs": 1, "hidden_size": 4, "window": 20}
INDEX = {freq: pd.date_range("2026-01-01", periods=90, freq=freq) for freq in ("h", "D", "30min", "MS", "QS", "W")}
INDEX |= {
    "Berlin": pd.date_range("2026-03-01", periods=90, freq="D", tz="Europe/Berlin"),
    "1": pd.Index(VALUES * 0 + range(90)),
    "2": pd.Index(2.0 * np.arange(90)),
}


def of(kind):
    return pd.Series(VALUES, index=INDEX[kind])


@pytest.mark.parametrize(("trained", "others"), [("h", ("D", "30min", "1")), ("MS", ("QS", "W")), ("1", ("2", "h"))])
def test_other_steps_are_refused_whoever_asks(tmp_path, trained, others):
    forecaster = Forecaster(**FEW).fit(of(trained))
    for other in others:
        for asked in (forecaster.predict, forecaster.predict_quantiles, forecaster.backtest, forecaster.stream):
            with pytest.raises(DataError, match=r"its steps are .* apart, and the forecaster was trained on steps of"):
                asked(of(other))
        file = tmp_path / "other.csv"
        of(other).to_frame("1").to_csv(file, index_label="time")
        with pytest.raises(DataError, match="trained on steps of"):
            evaluate_run(Given(forecaster.run_), file, None, None)
        with pytest.raises(DataError, match=r"other\.csv, its rows: its steps are"):
            list(forecast_series(Given(forecaster.run_), file).items)
    np.testing.assert_allclose(forecaster.predict(of(trained)), forecaster.predict(), atol=0.1)
    assert forecaster.predict(of(trained)[5:40].drop(of(trained).index[[9, 12]])).shape == (3,)


def test_days_of_a_local_clock_are_days():
    forecaster = Forecaster(**FEW).fit(of("D"))
    assert forecaster.predict(of("Berlin")).shape == (3,)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ("h", "D", "1 hour apart in series 'a', and 1 day in series 'b'"),
        ("MS", "QS", "1 month apart"),
        ("1", "2", "1 (numbers) apart"),
    ],
)
def test_series_of_different_steps_are_not_learnt_as_one(one, other, told):
    with pytest.raises(DataError) as error:
        Forecaster(**FEW).fit({"a": of(one), "b": of(other)})
    assert told in str(error.value)


def test_runs_without_a_spacing_are_read(tmp_path):
    np.savetxt(tmp_path / "a.csv", VALUES, header="load", comments="")
    run = set_up(tmp_path / "run", ForecasterConfig.build({"data": {"train": tmp_path / "a.csv", "horizon": 3}}))
    kept = json.loads(run.layout_file.read_text())
    assert kept.pop("spacing") is None
    (tmp_path / "layout.json").write_text(json.dumps(kept))
    assert read_layout(tmp_path / "layout.json", "x").spacing is None
    Layout(targets=("a",), season=1, quantiles=(0.5,)).refuse_other_spacing(None, "x")

"""Which columns of a table a forecaster reads: those that are named; of others it needs nothing."""

import numpy as np
import pytest
from tests.tasks.forecaster.conftest import rows, write

from gateflow import Forecaster
from gateflow.errors import DataError, DataWarning
from gateflow.tasks.description import Given
from gateflow.tasks.forecaster.config import ForecasterConfig, SeriesConfig
from gateflow.tasks.forecaster.data import set_up
from gateflow.tasks.forecaster.forecasting import forecast_series

pd = pytest.importorskip("pandas", reason="of the dev dependencies")

FEW = {"horizon": 3, "epochs": 1, "hidden_size": 4, "window": 20}
FRAME = pd.DataFrame(
    {
        "time": pd.date_range("2026-01-01", periods=90, freq="h"),
        "load": np.sin(np.arange(90.0)),
        "t": np.cos(np.arange(90.0)),
        "region": "EMEA",
    }
)


@pytest.mark.parametrize(
    "options", [{"target": "load"}, {"target": "load", "past": "t"}, {"target": "t", "future": "load"}]
)
@pytest.mark.parametrize("of_file", [True, False])
def test_columns_that_are_named_nowhere_are_not_read(tmp_path, options, of_file):
    given = tmp_path / "a.csv" if of_file else FRAME
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    forecaster = Forecaster(**FEW, **options).fit(given)
    assert forecaster.layout_.channels == tuple(options.values())
    if "future" not in options:
        assert forecaster.predict(given).shape == (3,)
        assert forecaster.stream(given).update([0.0]).shape == (3, 1, 3)
        np.testing.assert_array_equal(forecaster.predict(given), forecaster.predict(FRAME.drop(columns="region")))
    assert np.isfinite(forecaster.backtest(given)["mase"])


def test_columns_of_words_where_nothing_is_named(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    config = ForecasterConfig.build({"data": {"train": tmp_path / "a.csv"}})
    with pytest.raises(DataError, match="'region' holds none, name with --target, --past and --future those that do"):
        set_up(tmp_path / "run", config)
    for given in (tmp_path / "a.csv", FRAME):
        with pytest.raises(DataError, match="'region' holds none, name with target, past and future those that do"):
            Forecaster(**FEW).fit(given)
    with pytest.raises(DataError, match="may both be the column of the series. Say with series which one is"):
        Forecaster(**FEW, target="load").fit(FRAME.assign(id=1, series=2))


def known_ahead(steps: int) -> pd.DataFrame:
    """Hours with a holiday, and the holidays of some hours more."""
    frame = pd.DataFrame({"load": np.sin(np.arange(90.0 + steps)), "holiday": 0.0})
    frame.loc[90:, "load"] = np.nan
    return frame.set_index(pd.date_range("2026-01-01", periods=90 + steps, freq="h"))


@pytest.mark.parametrize(("ahead", "unknown"), [(0, 3), (1, 2), (3, 0), (5, 0)])
def test_covariates_that_are_not_known_ahead_are_told(recwarn, ahead, unknown):
    forecaster = Forecaster(**FEW, target="load", future="holiday").fit(known_ahead(0))
    for asked in (forecaster.predict, forecaster.predict_quantiles):
        recwarn.clear()
        asked(known_ahead(ahead))
        told = [str(each.message) for each in recwarn if each.category is DataWarning]
        assert len(told) == bool(unknown)
        assert all(each.startswith(f"holiday is not known for {unknown} of the 3 steps ahead; it") for each in told)


def test_covariates_of_many_series_are_told_once(tmp_path, trained):
    file = write(tmp_path / "a.csv", {name: rows(0) for name in "abc"})
    with pytest.warns(
        DataWarning, match="for 6 of the 6 steps ahead of series a, nor for all of 2 series more"
    ) as told:
        forecast_series(Given(trained), file)
    assert len(told) == 1


def test_names_of_channels():
    config = SeriesConfig(train="x", target=" a, b", future="c")
    assert config.named() == (("a", "b"), (), ("c",))
    assert config.columns().channels == ("a", "b", "c")
    assert SeriesConfig(train="x", future="c").columns().channels == ()

"""Series given in Python are those that a file of them holds; messages name the argument, and no file that is gone."""

import numpy as np
import pytest

from gateflow import Forecaster
from gateflow.errors import DataError
from gateflow.tasks.forecaster.given import series_of

pd = pytest.importorskip("pandas", reason="of the dev dependencies")

N = 40
VALUES = np.arange(float(N))
DAYS = pd.date_range("2026-03-01", periods=N)


def times(*given, **named):
    (series,) = series_of(pd.Series(VALUES, index=pd.date_range(*given, periods=N, **named)), "y")
    np.testing.assert_array_equal(series.values[:, 0], VALUES)
    return series.times


@pytest.mark.parametrize("freq", ["D", "h", "30min", "500ms", "W", "MS", "ME", "QE", "YE"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_an_index_of_dates_is_the_times(freq, zone):
    expected = pd.date_range("2026-03-01", periods=N, freq=freq).to_numpy().astype("datetime64[us]")
    np.testing.assert_array_equal(times("2026-03-01", freq=freq, tz=zone), expected)


def test_days_at_midnight_of_a_local_clock():
    np.testing.assert_array_equal(times("2026-03-01", freq="D", tz="Europe/Berlin"), DAYS.to_numpy())


@pytest.mark.parametrize("freq", ["M", "Q", "D", "Y"])
def test_periods_begin_at_their_first_day(freq):
    index = pd.period_range("2026-01", periods=N, freq=freq)
    (series,) = series_of(pd.Series(VALUES, index=index), "y")
    np.testing.assert_array_equal(series.times, index.to_timestamp().to_numpy().astype("datetime64[us]"))


def test_an_index_of_numbers_and_one_that_counts():
    assert series_of(pd.Series(VALUES), "y")[0].times is None
    np.testing.assert_array_equal(
        series_of(pd.Series(VALUES, index=1900 + np.arange(N)), "y")[0].times[:2], [1900, 1901]
    )


LONG = pd.DataFrame({"unique_id": np.repeat(["a", "b"], N // 2), "ds": [*DAYS[: N // 2]] * 2, "load": VALUES})


@pytest.mark.parametrize(
    "frame",
    [
        LONG,
        LONG.sample(frac=1, random_state=0),
        LONG.set_index(["unique_id", "ds"]),
        LONG.set_index(["unique_id", "ds"]).rename_axis([None, None]),
        LONG.set_index("ds"),
        LONG.rename(columns={"unique_id": "item_id", "ds": "timestamp"}),
        LONG.assign(ds=LONG.ds.dt.tz_localize("Europe/Berlin")),
    ],
    ids=["columns", "in no order", "two levels", "without names", "a level and a column", "other names", "a zone"],
)
def test_frames_with_several_series(frame):
    found = series_of(frame, "y")
    assert sorted(series.name for series in found) == ["a", "b"]
    for series in found:
        begin = 0 if series.name == "a" else N // 2
        np.testing.assert_array_equal(series.values[:, 0], VALUES[begin : begin + N // 2])
        np.testing.assert_array_equal(series.times, DAYS[: N // 2].to_numpy())
        assert series.channel_names == ("load",)


def test_columns_of_all_kinds():
    frame = pd.DataFrame(
        {
            ("load", "north"): pd.array([1, None] * (N // 2), dtype="Int64"),
            "holiday": VALUES % 7 == 0,
            "open": pd.array([True, None] * (N // 2), dtype="boolean"),
            "target": VALUES.astype("float32"),
            7: VALUES,
        }
    )
    (series,) = series_of(frame, "y")
    assert series.channel_names == ("load/north", "holiday", "open", "target", "7")
    assert len(series) == N
    np.testing.assert_array_equal(series.values[1], np.array([np.nan, 0, np.nan, 1, 1], dtype=np.float32))


def test_a_step_of_nothing_but_missing_values_is_a_step():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [1.0, np.nan, 3.0]})
    for each in (frame, frame.a):
        np.testing.assert_array_equal(np.isnan(series_of(each, "y")[0].values[:, 0]), [False, True, False])


def test_a_dictionary_of_what_has_dates():
    frame = pd.DataFrame({"north": VALUES, "south": -VALUES}, index=DAYS)
    found = series_of({name: frame[name] for name in frame}, "y")
    assert [series.name for series in found] == ["north", "south"]
    for series in found:
        np.testing.assert_array_equal(series.times, DAYS.to_numpy())


def test_what_a_mask_hides_is_missing():
    (series,) = series_of(np.ma.masked_array(VALUES, VALUES > 30), "y")
    np.testing.assert_array_equal(np.isnan(series.values[:, 0]), VALUES > 30)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (DAYS.to_numpy(), "an array of numbers, and this is none"),
        (np.ones((2, 3, 4)), r"shape \[2, 3, 4\]. Give several series as a dictionary"),
        ([1, 2, 1e300], "^y: the value 1e\\+300 of step 3, channel 1 is more than float32 can hold"),
        ({"a": [1, 2], "b": [1, np.inf]}, r"^y\['b'\]: the value inf of step 2"),
        ({"a": [1, 2], "b": [[1, 2]]}, "different numbers of channels"),
        ({"a": LONG}, r"y\['a'\] holds 2 series"),
        (pd.DataFrame({"load": ["x"] * N}), "^y, its rows .*'x' is no number"),
        (pd.concat([LONG, LONG]).set_index("ds"), None),
        (pd.DataFrame(np.ones((N, 2)), columns=["a", "a"]), "^y: the header has the column 'a' twice"),
        (VALUES[:5], "^y, its rows: 5 steps with values"),
        (None, "y: a series is an array"),
    ],
)
def test_messages_name_the_argument(given, told):
    forecaster = Forecaster(horizon=3, hidden_size=4, window=10, epochs=1)
    with pytest.raises(DataError, match=told) as error:
        forecaster.fit(given)
    assert "/" not in str(error.value).replace("n/a", ""), "no path"


def test_a_run_of_what_was_given_keeps_no_path_that_is_gone(tmp_path):
    forecaster = Forecaster(horizon=3, hidden_size=4, window=10, epochs=1, out=tmp_path / "run").fit(LONG)
    assert 'train = "y"' in (tmp_path / "run" / "config.toml").read_text()
    assert forecaster.predict(LONG).keys() == {"a", "b"}
    with pytest.raises(DataError, match=r"^history, its rows lacks the channel 'load'"):
        forecaster.stream(VALUES)
    with pytest.raises(DataError, match="history holds 2"):
        forecaster.stream(LONG)

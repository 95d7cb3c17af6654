"""Dates with an offset from UTC, and days and hours of a clock that is put forward and back."""

import numpy as np
import pytest

from gateflow.data.series import read_series
from gateflow.data.series.moments import in_utc, moments
from gateflow.data.series.spacing import evenly, spacing_of
from gateflow.data.series.table import Columns
from gateflow.errors import DataError

pd = pytest.importorskip("pandas", reason="a judge of time zones, of the dev dependencies")


def cells(begin: str, count: int, freq: str, zone: str | None) -> list[str]:
    """Times as pandas writes them."""
    return [str(time) for time in pd.date_range(begin, periods=count, freq=freq, tz=zone)]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize(("freq", "step"), [("D", "1D"), ("W", "7D"), ("MS", "1M"), ("YE", "12M")])
def test_days_of_a_local_clock_are_even_through_the_year(zone, freq, step):
    written = cells("2024-01-01", 60, freq, zone)
    found, naive = moments(written, "x"), cells("2024-01-01", 60, freq, None)
    assert np.datetime_as_string(found, unit="D").tolist() == [day[:10] for day in naive]
    spacing = spacing_of(found)
    assert spacing is not None
    assert spacing.step == (np.timedelta64(int(step[:-1]), "D") if step[-1] == "D" else int(step[:-1]))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("freq", ["h", "30min", "6h"])
def test_hours_are_in_utc_whatever_the_clock_shows(zone, freq):
    written = cells("2024-01-01", 24 * 400, freq, zone)
    found = moments(written, "x")
    expected = pd.DatetimeIndex(pd.to_datetime(written, utc=True)).tz_localize(None)
    np.testing.assert_array_equal(found, expected.to_numpy().astype("datetime64[us]"))
    assert spacing_of(found) is not None
    assert in_utc(written[0], found[0])


def test_a_part_of_the_year_is_read_as_the_whole_is():
    """Or a forecaster would read other hours in a file of winter alone than it has learnt from."""
    whole = cells("2024-01-01", 24 * 400, "h", "Europe/Berlin")
    np.testing.assert_array_equal(moments(whole, "x")[:100], moments(whole[:100], "x"))
    days = cells("2024-01-01", 400, "D", "Europe/Berlin")
    np.testing.assert_array_equal(moments(days, "x")[:20], moments(days[:20], "x"))


def test_dates_some_of_which_have_an_offset():
    with pytest.raises(DataError, match="some dates have an offset"):
        moments(["2026-01-01T00:00", "2026-01-02T00:00+01:00"], "x")


def test_hours_of_a_clock_that_is_put_back_need_their_offset(tmp_path):
    naive = [time[:19] for time in cells("2024-10-26", 60, "h", "Europe/Berlin")]
    file = tmp_path / "table.csv"
    file.write_text("time,load\n" + "".join(f"{time},1\n" for time in naive))
    (series,) = read_series(file)
    assert not series.utc
    with pytest.raises(DataError, match="write dates with their offset"):
        evenly(series, "x")


def test_a_row_of_nothing_is_a_step_where_rows_are_told_apart_by_their_order(tmp_path):
    file = tmp_path / "table.csv"
    for text, values in (
        ("a,b\n1,2\n,\n3,4\n\n", [[1, 2], [np.nan, np.nan], [3, 4]]),
        ('a\n1\n""\n3\n\n', [[1], [np.nan], [3]]),
        # As spreadsheets leave them: no step, since it has no time.
        ("time,a\n1,2\n2,\n,\n", [[2], [np.nan]]),
    ):
        file.write_text(text)
        (series,) = read_series(file)
        np.testing.assert_array_equal(series.values, np.array(values, dtype=np.float32))


def test_a_target_is_no_label_where_there_are_none(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("item_id,timestamp,target\na,2026-01-01,1\na,2026-01-02,2\n")
    (series,) = read_series(file, columns=Columns(labelled=False))
    assert (series.name, series.channel_names, series.label) == ("a", ("target",), None)

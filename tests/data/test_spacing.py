"""Which grid times lie on: that of most steps; a slip of one of them is told, and changes no other step."""

import numpy as np
import pytest

from gateflow.data.series import Series
from gateflow.data.series.spacing import evenly, spacing_of
from gateflow.errors import DataError

pd = pytest.importorskip("pandas", reason="a judge of calendars, of the dev dependencies")


def grid(freq: str | float, count: int = 120) -> np.ndarray:
    """Times as far apart as pandas says, or numbers."""
    if isinstance(freq, str):
        return pd.date_range("2026-01-01", periods=count, freq=freq).to_numpy().astype("datetime64[us]")
    return freq * np.arange(count)


def of(times: np.ndarray) -> Series:
    return Series(np.arange(len(times), dtype=np.float32)[:, None], "x", times=times)


def with_one_at(times: np.ndarray, place: int, share: float) -> np.ndarray:
    """One time more, that share of a step behind another."""
    distance = times[place + 1] - times[place]
    stray = times[place] + (
        distance * share if times.dtype.kind == "f" else np.timedelta64(int(distance.astype(int) * share), "us")
    )
    return np.insert(times, place + 1, stray)


GRIDS = ["h", "15min", "D", "W", "500ms", 1.0, 0.1, 300.0]


@pytest.mark.parametrize("freq", GRIDS)
@pytest.mark.parametrize("share", [0.5, 1 / 60, 0.25, 0.9])
@pytest.mark.parametrize("place", [0, 50, 117])
def test_one_stray_time_is_refused_with_its_place(freq, share, place):
    times = with_one_at(grid(freq), place, share)
    with pytest.raises(DataError, match=rf"^f, x: most of its steps are .* Step {place + 2}, at .*Remove such rows"):
        evenly(of(times), "f, x")


@pytest.mark.parametrize("freq", GRIDS)
@pytest.mark.parametrize("share", [0.5, 1 / 60, 0.001])
@pytest.mark.parametrize("place", [0, 50, 119])
def test_one_time_that_was_moved_is_refused_with_its_place(freq, share, place):
    times = grid(freq)
    times[place] = with_one_at(grid(freq, 130), place, share)[place + 1]
    with pytest.raises(DataError, match=rf"Step {place + 1}, at "):
        evenly(of(times), "f, x")


@pytest.mark.parametrize("freq", GRIDS)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_steps_that_are_left_out_change_no_spacing(freq, share):
    whole = grid(freq)
    kept = np.random.default_rng(int(10 * share)).random(len(whole)) > share
    kept[[0, 1, -1]] = True
    series, spacing = evenly(of(whole[kept]), "x")
    assert str(spacing) == str(spacing_of(whole))
    assert np.isfinite(series.values[:, 0]).tolist() == kept.tolist()


@pytest.mark.parametrize("freq", ["MS", "ME", "QS", "YE"])
@pytest.mark.parametrize("days", [1, 5, 14])
def test_one_stray_date_among_months(freq, days):
    times = grid(freq, 60)
    stray = np.insert(times, 21, times[20] + np.timedelta64(days, "D"))
    with pytest.raises(DataError, match=r"month or more apart, and some only .*Step 22, at "):
        evenly(of(stray), "x")
    kept = np.delete(times, [7, 8, 30])
    assert len(evenly(of(kept), "x")[0]) == 60


def test_business_days_and_hours_of_a_day():
    days = pd.bdate_range("2026-01-01", periods=300).to_numpy().astype("datetime64[us]")
    assert str(spacing_of(days)) == "1 day"
    hours = grid("h", 24 * 60)
    open_hours = hours[(hours - hours.astype("datetime64[D]")) // np.timedelta64(1, "h") % 24 < 9]
    assert str(spacing_of(open_hours)) == "1 hour"


def test_a_finer_grid_counts_where_many_steps_are_on_it():
    # Mondays, Tuesdays, Thursdays and Saturdays have 2 days for the commonest, and a slip is rarer than that.
    assert spacing_of(np.cumsum(np.tile([1.0, 1, 2, 2, 2], 40))).step == 1
    with pytest.raises(DataError, match="not evenly|most of its steps"):
        evenly(of(np.cumsum(np.tile([3.0, 3, 3, 1], 40))), "x")


def test_the_clock_that_jumps_by_half_an_hour():
    hours = grid("h")
    hours[60:] += np.timedelta64(30, "m")
    with pytest.raises(DataError, match="most of its steps are 1 hour apart. Step "):
        evenly(of(hours), "x")


@pytest.mark.parametrize("scale", [0.1, 1 / 3, 1e-3, 1e5])
def test_numbers_that_were_rounded(scale):
    times = np.round(np.arange(500) * scale, 10)
    spacing = spacing_of(times)
    assert spacing.step == pytest.approx(scale, rel=1e-6)
    assert len(evenly(of(np.delete(times, [3, 4, 100])), "x")[0]) == 500

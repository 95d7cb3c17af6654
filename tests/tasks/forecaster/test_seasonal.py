"""What needs no network: naive forecasts, even spacing, the calendar; each beside a slow definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.series import Series
from gateflow.data.series.moments import moments
from gateflow.data.series.spacing import evenly, spacing_of
from gateflow.errors import DataError
from gateflow.tasks.forecaster.calendar import calendar
from gateflow.tasks.forecaster.seasonal import carried_forward, naive, typical_error


@given(
    st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(1, 20),
)
def test_naive_forecasts_by_definition(values, season, horizon):
    y = np.array(values, dtype=np.float32)[:, None]
    found = naive(carried_forward(y, season), season, horizon)
    for t in range(len(y)):
        for k in range(1, horizon + 1):
            at = t + k
            while at > t:
                at -= season
            assert found[t, k - 1, 0] == (y[at, 0] if at >= 0 else y[t, 0])


@given(
    st.lists(st.one_of(st.none(), st.floats(-9, 9, width=32, allow_subnormal=False)), min_size=1, max_size=30),
    st.integers(1, 7),
)
def test_missing_values_are_as_a_season_before(values, season):
    y = np.array([np.nan if v is None else v for v in values], dtype=np.float32)[:, None]
    found = carried_forward(y, season)
    assert np.isfinite(found).all()
    mean = np.float32(np.nanmean(y)) if np.isfinite(y).any() else 0
    for t in range(len(y)):
        at = t
        while at >= 0 and np.isnan(y[at, 0]):
            at -= season
        assert found[t, 0] == pytest.approx(y[at, 0] if at >= 0 else mean, rel=1e-5, abs=1e-5)


def test_the_divisor_of_mase():
    y = np.array([[1.0], [2.0], [4.0], [np.nan], [9.0]], dtype=np.float32)
    assert typical_error(y, 2)[0] == pytest.approx((3 + 5) / 2)
    assert typical_error(y, 1)[0] == pytest.approx((1 + 2) / 2)
    assert typical_error(np.ones((5, 1), dtype=np.float32), 2)[0] == 1
    assert typical_error(y[:1], 2)[0] == 1


def dates(*texts):
    return np.array(texts, dtype="datetime64[us]")


def of(times):
    return Series(np.arange(len(times), dtype=np.float32)[:, None], "x", times=times)


@pytest.mark.parametrize(
    ("times", "to_come"),
    [
        (dates("2024-01-31", "2024-02-29", "2024-04-30"), ["2024-05-31", "2024-06-30"]),
        (dates("2024-01-15", "2024-04-15", "2024-07-15"), ["2024-10-15", "2025-01-15"]),
        (dates("2023-11-30", "2023-12-30", "2024-01-30"), ["2024-02-29", "2024-03-30"]),
        (dates("2024-12-30", "2025-01-30", "2025-02-28"), ["2025-03-30", "2025-04-30"]),
        (dates("2024-02-27", "2024-02-28"), ["2024-02-29", "2024-03-01"]),
        (dates("2024-12-31T22", "2024-12-31T23"), ["2025-01-01T00", "2025-01-01T01"]),
    ],
)
def test_times_to_come(times, to_come):
    spacing = spacing_of(times)
    assert spacing.after(times, 2).tolist() == dates(*to_come).tolist()


def test_steps_left_out_become_missing_values():
    series, spacing = evenly(of(np.array([0.0, 0.1, 0.4])), "x")
    np.testing.assert_array_equal(series.values[:, 0], np.array([0, 1, np.nan, np.nan, 2], dtype=np.float32))
    np.testing.assert_allclose(series.times, [0, 0.1, 0.2, 0.3, 0.4])
    assert spacing.step == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([0.0, 0.0, 1.0], "steps 1 and 2 are at the same time"),
        ([0.0, 1.0, 2.5], "not evenly spaced"),
        ([0.0, 1.0, 1e6], "steps are left out"),
    ],
)
def test_times_that_no_forecast_can_go_on(times, told):
    with pytest.raises(DataError, match=told):
        evenly(of(np.array(times)), "x")


def test_a_long_irregular_series_is_not_evenly_spaced():
    steps = np.cumsum(np.tile([1.5, 1.0], 150_000))
    assert spacing_of(steps) is None


def test_days_without_marks_are_dates():
    found = moments(["20240131", "20240201"], "x")
    assert found.tolist() == dates("2024-01-31", "2024-02-01").tolist()


def test_the_calendar_is_a_circle():
    week = calendar(dates("2026-01-05T12", "2026-01-12T12", "2026-01-08"))
    np.testing.assert_allclose(week[0, :4], week[1, :4], atol=1e-6)
    np.testing.assert_allclose((week.reshape(3, 3, 2) ** 2).sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(week[0, :2], [0, -1], atol=1e-6)

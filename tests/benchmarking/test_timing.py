"""Peers that take turns, on a clock that the test turns."""

import pytest

from gateflow.benchmarking import timing


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a peer takes them."""

    class Clock:
        now = 0.0

        def spend(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(timing.time, "sleep", lambda _: None)
    return clock


def test_the_calls_take_turns_and_the_medians_are_theirs(clock):
    calls, durations = [], {"a": iter([9, 1, 1, 5, 2, 3, 9]), "b": iter([1] * 7)}

    def peer(name):
        return lambda: (calls.append(name), clock.spend(next(durations[name])))

    found = timing.interleaved({name: peer(name) for name in "ab"}, rounds=5)
    assert "".join(calls) == "aabb" + "ab" * 5  # two calls to warm up and to learn how long one takes
    assert found["a"] == (3, 1, 9, 5)
    assert found["b"] == (1, 1, 1, 5)


def test_short_calls_are_repeated_within_a_sample(clock):
    calls = []
    found = timing.interleaved({"short": lambda: (calls.append(1), clock.spend(0.001))}, rounds=4, long_enough=0.0095)
    assert len(calls) == 2 + 4 * 10
    assert found["short"].median == pytest.approx(0.001)


def test_no_round_after_the_third_begins_when_time_is_up(clock):
    slow = {"slow": lambda: clock.spend(10)}
    assert timing.interleaved(slow, rounds=7, seconds=1)["slow"].rounds == timing.FEWEST == 3
    assert timing.interleaved(slow, rounds=2, seconds=1)["slow"].rounds == 2
    assert timing.interleaved(slow, rounds=7, seconds=45)["slow"].rounds == 5

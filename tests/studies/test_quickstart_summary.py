"""What ``gateflow quickstart`` says of figures that are made up to be one thing or the other."""

import pytest

from gateflow.studies.agreement_training import AgreementResult
from gateflow.studies.quickstart_summary import Summary, quickstart_summary, separation, who_learned


def result(config, distances, accuracy, reach):
    return AgreementResult(config, distances, 0, 1, 1.0, 1.0, accuracy, [0.9, 0.6], [reach] * 5, [reach] * 5)


def test_the_summary_follows_the_figures():
    rows = [
        result("elman", "all", [1.0, 0.8, 0.5, 0.5, 0.51], 1e-14),
        result("lstm", "all", [1.0] * 5, 1e-11),
        result("elman", "far", [0.5] * 5, 1e-14),
        result("lstm", "far", [1.0] * 5, 1e-11),
    ]
    found = quickstart_summary(["elman", "lstm"], rows)
    assert "LSTM agrees in 90 % or more of the farthest sentences; tanh RNN in 51 % (nearest: 100 %)" in found[0]
    assert "tanh RNN agrees in 90, 60 %" in found[1]
    assert "tells here" in found[4]
    swapped = quickstart_summary(
        ["elman", "lstm"], [result(r.config, r.distances, r.accuracy[::-1], r.reach_before[0]) for r in rows]
    )
    assert "all of them" in swapped[0]


@pytest.mark.parametrize(("reach", "words"), [(0.1, "tells"), (1e-20, "does not tell")])
def test_reach_is_not_said_to_explain_what_it_does_not(reach, words):
    learned = Summary("a", [1.0], [reach], [reach], [1.0])
    assert f"training {words} here" in separation([learned, Summary("b", [0.5], [1e-8], [1e-8], [0.5])])[1]


def test_nobody_learned():
    assert who_learned([Summary("a", [0.6, 0.5], [1.0], [1.0], [0.5])]).startswith("none agrees")

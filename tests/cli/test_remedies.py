"""``gateflow remedies``."""

import json

import pytest

from gateflow.errors import FlowError
from gateflow.studies import remedy_study
from gateflow.studies.candidates import INITIAL_CANDIDATES, REMEDIES

TINY = ("--length", 10, "--updates", 2, "--hidden-size", 3, "--batch-size", 2)


def test_a_row_per_remedy_and_what_they_say(gateflow):
    result = gateflow("remedies", *TINY, "--seeds", 2)
    assert result.code == 0, result.err
    title, head, *rows = result.out.splitlines()
    assert title.startswith("TemporalOrder, 10 steps.")
    assert head.split() == "candidate horizon then solved at update error rate clipped, %".split()
    assert [row.split("  ")[0] for row in rows[: len(REMEDIES)]] == [candidate.name for candidate in REMEDIES]
    assert all("0 of 2" in row for row in rows[: len(REMEDIES)])
    assert rows[len(REMEDIES)].startswith("Of ")
    assert len([line for line in result.err.splitlines() if ", seed 1: " in line]) == len(REMEDIES)


def test_ways_to_begin_have_the_gradient_beside_them(gateflow):
    result = gateflow("remedies", "--of", "initial-weights", "--task", "adding", *TINY, "--seeds", 1)
    assert result.code == 0, result.err
    assert "‖∂E/∂W_hh‖" in result.out
    assert "left at 4" in result.out
    assert "saturated, %" in result.out
    assert all(candidate.name in result.out for candidate in INITIAL_CANDIDATES)
    assert "mean squared error" in result.out


def test_a_few_can_be_chosen(gateflow):
    words = ("--of", "initial-weights", "--only", "lstm, FORGET bias", *TINY, "--seeds", 1, "--json")
    found = json.loads(gateflow("remedies", *words).out)
    assert [t["candidate"] for t in found["trainings"]] == [f"LSTM, forget bias {b}" for b in (0, 1, 2, 4)]


def test_json_has_every_training(gateflow):
    found = json.loads(gateflow("remedies", "--task", "copy", *TINY, "--seeds", 1, "--json").out)
    assert (found["task"], found["steps"], found["probed_lag"]) == ("Copy", 30, 14)
    assert [training["candidate"] for training in found["trainings"]] == [candidate.name for candidate in REMEDIES]
    assert all(0 <= training["before"]["horizon"] < 30 for training in found["trainings"])
    assert len(found["foretold"]) >= 2


def test_trainings_that_break_are_rows(gateflow):
    result = gateflow("remedies", *TINY[:2], "--updates", 20, *TINY[4:], "--seeds", 1, "--lr", 1e30)
    assert result.code == 0
    assert "0 of 1, 1 not finite" in result.out
    assert "gradient not finite at update 11" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("done", [0, 1])
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(KeyboardInterrupt(), 130, "Stopped"), (FlowError("no memory left"), 1, "no memory left")],
)
def test_what_ends_it_early_costs_nothing_that_was_done(gateflow, monkeypatch, done, error, code, said):
    whole = remedy_study.study

    def stopped(*words):
        for k, training in enumerate(whole(*words)):
            if k == done:
                raise error
            yield training

    monkeypatch.setattr(remedy_study, "study", stopped)
    result = gateflow("remedies", *TINY, "--seeds", 1)
    assert result.code == code
    assert ("plain RNN" in result.out) == bool(done)
    assert "orthogonal" not in result.out
    assert said in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--task", "parity"), "--task parity: there are adding, copy, order"),
        (("--of", "cures"), "--of cures: there are remedies, initial-weights"),
        (("--only", "magic"), "--only magic: there are plain RNN; orthogonal W; "),
        (("--length", 3), "the task needs a length of 10 or more"),
        (("--updates", 3, "--minutes", 1), "--updates or as --minutes"),
        (("--task", "adding", "--length", 1), "the task needs a length of 2 or more"),
        (("--seeds", 0), "seeds"),
    ],
)
def test_bad_input(gateflow, words, part):
    result = gateflow("remedies", "--hidden-size", 3, *words)
    assert (result.code, result.out) == (2, "")
    assert part in result.err
    assert "Traceback" not in result.err

"""The display of a training on a terminal, and elsewhere."""

import pytest

from gateflow.cli.progress import TrainingDisplay, describe, minutes
from gateflow.training.checkpoint import Progress

TRAIN = {
    "kind": "train",
    "step": 50,
    "epoch": 0.5,
    "loss": 4.5,
    "perplexity": 90.0,
    "tokens_per_second": 12345,
    "skipped": 0,
}
VALID = {"kind": "valid", "step": 100, "epoch": 1.0, "loss": 5.0, "perplexity": 148.41}


def shown(capsys):
    with TrainingDisplay() as display:
        display.step(Progress(step=49, seconds=4.0, elapsed=1049.0), 100)
        display.step(Progress(step=50, seconds=5.0, elapsed=1050.0), 100)
        display.record(TRAIN)
        display.record(VALID)
    return capsys.readouterr()


def test_without_a_terminal_there_are_plain_lines_on_stderr(capsys):
    out, err = shown(capsys)
    assert out == ""
    assert err.splitlines() == [
        "epoch 0.50 loss 4.500 perplexity 90.0 12,345 tokens/s, 0:50 left",
        "epoch 1.00 validation loss 5.000 perplexity 148.4",
    ]


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    out, err = shown(capsys)
    assert out == ""
    for part in ("50/100", "12,345 tokens/s", "17:30 passed, 0:50 left", "epoch 1.00 validation loss", "━━━━━━"):
        assert part in err


def test_the_horizon_stands_beside_the_loss(capsys):
    with TrainingDisplay() as display:
        display.record({"kind": "flow", "step": 1, "loss": 5.0, "horizon": 7, "longest": 34})
        display.record({"kind": "flow", "step": 2, "loss": 5.0, "skipped": "too short"})
        display.record(TRAIN)
    assert capsys.readouterr().err.startswith("epoch 0.50 loss 4.500 perplexity 90.0 horizon 7 of 34 12,345 tokens/s")


def test_a_process_that_is_not_the_first_shows_nothing(capsys):
    with TrainingDisplay(enabled=False) as display:
        display.record(TRAIN)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_durations(seconds, text):
    assert minutes(seconds) == text


def test_what_is_not_finite_and_what_was_skipped_is_said():
    text = describe({**TRAIN, "loss": None, "perplexity": None, "skipped": 3})
    assert text == "epoch 0.50 loss not finite perplexity not finite 12,345 tokens/s (3 updates skipped)"

"""A translator is killed at any moment, alone and as two processes, and goes on as if nothing had happened."""

import pytest
from tests.tasks.translator.pairs import pairs, write
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks.translator import data, diagnosis, task

HERE = f"{__name__}:"
# Imported before the children are forked.
LOADED = data, diagnosis, task
NETWORK = ("--hidden-size", 12, "--embedding-size", 8, "--average", 0.9, "--pointer", "--word-dropout", 0.1)
RECORDS = ("--log-every", 3, "--validate-every", 7, "--checkpoint-every", 4, "--batch-size", 8)


def short(path):
    return translator(path, 3)


def long(path):
    return translator(path, 60)


def transformer(path):
    return translator(path, 40, "--model", "transformer", "--heads", 2)


def translator(path, epochs, *words):
    """With a monitor, whose records come when there is time, and must change nothing."""
    file = path.parent / "train.tsv"
    if not file.exists():
        write(file, pairs(100))
    return Command(path, "train", "translator", "--data", file, *NETWORK, *RECORDS, "--epochs", epochs, *words)


@pytest.mark.long
@pytest.mark.parametrize(("training", "kills"), [("short", 4), ("long", 10), ("transformer", 10)])
def test_killed_at_any_moment_it_goes_on(tmp_path, training, kills):
    kill_again_and_again(f"{HERE}{training}", tmp_path, seed=1, kills=kills)


@pytest.mark.long
@pytest.mark.parametrize("how", ["", "torchrun"])
def test_two_processes_that_are_killed_go_on(tmp_path, how):
    kill_again_and_again(f"{HERE}long", tmp_path, seed=12, kills=10, processes=2, how=how)

"""A classifier is killed at any moment, alone and as two processes, and goes on to the same weights."""

import pytest
from tests.tasks.classifier.numbers import series, table
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks.classifier import data, diagnosis, task

HERE = f"{__name__}:"
# Imported before the children are forked.
LOADED = data, diagnosis, task
NETWORK = ("--hidden-size", 8, "--average", 0.9, "--class-weights", "balanced")
RECORDS = ("--log-every", 3, "--validate-every", 7, "--checkpoint-every", 4, "--batch-size", 8)


def short(path):
    return classifier(path, 5)


def long(path):
    return classifier(path, 90)


def transformer(path):
    """Of texts, some of whose words are dropped."""
    file = path.parent / "train.tsv"
    if not file.exists():
        words = ("good", "fine", "bad", "poor")
        file.write_text(
            "".join(f"it is {words[i % 4]} {words[i % 3]} {i % 7}\t{'pn'[i % 4 // 2]}\n" for i in range(80))
        )
    network = ("--model", "transformer", "--heads", 2, "--embedding-size", 8, "--word-dropout", 0.2)
    return Command(path, "train", "classifier", "--data", file, *NETWORK, *RECORDS, *network, "--epochs", 60)


def classifier(path, epochs):
    file = path.parent / "train.csv"
    if not file.exists():
        table(file, series(80), missing=0.2)
    return Command(path, "train", "classifier", "--data", file, *NETWORK, *RECORDS, "--epochs", epochs)


def test_killed_at_any_moment_it_goes_on(tmp_path):
    kill_again_and_again(f"{HERE}short", tmp_path, seed=1, kills=4)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "how"), [(1, ""), (2, ""), (2, "torchrun")])
def test_killed_ten_times_it_goes_on(tmp_path, processes, how):
    kill_again_and_again(f"{HERE}long", tmp_path, seed=10 + processes, kills=10, processes=processes, how=how)


@pytest.mark.long
@pytest.mark.parametrize("processes", [1, 2])
def test_a_transformer_that_is_killed_ten_times_goes_on(tmp_path, processes):
    kill_again_and_again(f"{HERE}transformer", tmp_path, seed=30 + processes, kills=10, processes=processes)

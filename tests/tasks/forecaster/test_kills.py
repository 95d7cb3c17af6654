"""A forecaster is killed at any moment, alone and as two processes, and goes on as if nothing had happened."""

import pytest
from tests.tasks.forecaster.conftest import HORIZON, SEASON, rows, write
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks.forecaster import data, diagnosis, task

HERE = f"{__name__}:"
# Imported before the children are forked.
LOADED = data, diagnosis, task
NETWORK = ("--hidden-size", 12, "--season", SEASON, "--horizon", HORIZON, "--future", "holiday", "--window", 24)
RECORDS = ("--log-every", 3, "--validate-every", 7, "--checkpoint-every", 4, "--batch-size", 4)


def short(path):
    return forecaster(path, 10)


def long(path):
    return forecaster(path, 150)


def forecaster(path, epochs):
    """One series: of two processes one has nothing to validate."""
    file = path.parent / "table.csv"
    if not file.exists():
        write(file, {"a": rows(0)})
    return Command(path, "train", "forecaster", "--data", file, *NETWORK, *RECORDS, "--epochs", epochs)


# One process, more draws: a moment that comes after the end of so short a training hits nothing.
def test_killed_at_any_moment_it_goes_on(tmp_path):
    kill_again_and_again(f"{HERE}short", tmp_path, seed=1, kills=4)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "how"), [(1, ""), (2, ""), (2, "torchrun")])
def test_killed_ten_times_it_goes_on(tmp_path, processes, how):
    kill_again_and_again(f"{HERE}long", tmp_path, seed=10 + processes, kills=10, processes=processes, how=how)

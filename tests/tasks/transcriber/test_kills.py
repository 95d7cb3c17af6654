"""A transcriber is killed at any moment, alone and as two processes, and goes on to the same weights."""

import pytest
from tests.tasks.transcriber.lines import texts, write_images
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks.transcriber import data, diagnosis, task

HERE = f"{__name__}:"
# Imported before the children are forked.
LOADED = data, diagnosis, task
NETWORK = ("--hidden-size", 8, "--layers", 1, "--front-size", 6, "--height", 16, "--average", 0.9)
RECORDS = ("--log-every", 3, "--validate-every", 7, "--checkpoint-every", 4, "--batch-size", 8)


def short(path):
    return transcriber(path, 4)


def long(path):
    return transcriber(path, 70)


def transcriber(path, epochs):
    folder = path.parent / "lines"
    files = folder / "list.tsv" if folder.exists() else write_images(folder, texts(60))
    return Command(path, "train", "transcriber", "--data", files, *NETWORK, *RECORDS, "--epochs", epochs)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "how"), [(1, ""), (2, ""), (2, "torchrun")])
def test_killed_ten_times_it_goes_on(tmp_path, processes, how):
    kill_again_and_again(f"{HERE}long", tmp_path, seed=10 + processes, kills=10, processes=processes, how=how)


def test_killed_at_any_moment_it_goes_on(tmp_path):
    kill_again_and_again(f"{HERE}short", tmp_path, seed=1, kills=4)

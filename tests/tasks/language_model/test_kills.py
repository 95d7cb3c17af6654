"""A language model of a Transformer is killed at any moment, alone and as two processes, and goes on with its cache."""

import pytest
from tests.training.killed_again_and_again import Command
from tests.training.kills import kill_again_and_again

from gateflow.tasks.language_model import data, diagnosis, task

# Imported before the children are forked.
LOADED = data, diagnosis, task
NETWORK = ("--model", "transformer", "--heads", 2, "--hidden-size", 8, "--embedding-size", 8, "--context", 12)
RECORDS = ("--log-every", 3, "--validate-every", 7, "--checkpoint-every", 4, "--batch-size", 4, "--window", 5)


def long(path):
    file = path.parent / "text.txt"
    if not file.exists():
        file.write_text("a b c d\nb c d a\nc d a b\n" * 60)
    return Command(path, "train", "lm", "--data", file, *NETWORK, *RECORDS, "--average", 0.9, "--epochs", 10)


@pytest.mark.long
@pytest.mark.parametrize(("processes", "how"), [(1, ""), (2, ""), (2, "torchrun")])
def test_killed_ten_times_it_goes_on(tmp_path, processes, how):
    kill_again_and_again(f"{__name__}:long", tmp_path, seed=20 + processes, kills=10, processes=processes, how=how)

"""Train `Echo` in child processes that are killed at random moments, and then to the end.

Usage: ``python -m tests.training.killed_again_and_again RUN SEED``; it prints how many were killed. It forks, so that a
kill costs no new import of torch, and is a program of its own, so that pytest is not what forks.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from tests.training.tiny import EchoRun, EchoTask, echo_run

from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

OPTIONS = {"epochs": 300, "checkpoint_every": 5, "validate_every": 4, "clip": "auto"}
DROPOUT = 0.2


def train(path: Path) -> None:
    """Set the run up if a killed process has not, and go on."""
    torch.set_num_threads(1)
    if not path.exists():
        echo_run(path, DROPOUT, **OPTIONS)
    run = EchoRun.open(path)
    TrainingLoop(EchoTask(DROPOUT), run.config().training, run, join_processes(run.config().training)).train()


def main(path: Path, seed: int) -> None:
    """Fork, wait a random time, kill; then let it come to the end."""
    chance, killed = random.Random(seed), 0
    for _ in range(16):
        if (child := os.fork()) == 0:
            train(path)
            os._exit(0)
        time.sleep(chance.uniform(0, 0.25))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    train(path)
    sys.stdout.write(str(killed))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

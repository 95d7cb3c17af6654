"""Train `Echo` as one of several processes, with a Ctrl-C for the first of them on the way.

Usage: ``torchrun --nproc-per-node 2 -m tests.training.one_of_several RUN``
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import torch
from tests.training.tiny import EchoRun, EchoTask

from gateflow.training.distributed import join_processes, leave_processes
from gateflow.training.loop import TrainingLoop

OPTIONS = {"log_every": 1, "clip": 0.2, "accumulate": 2}


class CtrlC:
    """A callback that stops the first process, and no other, after two updates."""

    def step(self, progress, total):
        if progress.step == 2:
            signal.raise_signal(signal.SIGINT)

    def record(self, record):
        pass


def main(path: Path) -> None:
    """Train, be stopped, go on."""
    torch.set_num_threads(1)
    run = EchoRun(path)
    accelerator = join_processes(run.config().training)
    task = EchoTask(0.0, accelerator.process_index, accelerator.num_processes)
    assert TrainingLoop(task, run.config().training, run, accelerator, [CtrlC()]).train().interrupted
    task = EchoTask(0.0, accelerator.process_index, accelerator.num_processes)
    assert not TrainingLoop(task, run.config().training, run, accelerator).train().interrupted
    leave_processes(accelerator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

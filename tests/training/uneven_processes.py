"""Train `Echo` as one of two processes that share four rows as three and one.

Usage: ``torchrun --nproc-per-node 2 -m tests.training.uneven_processes RUN``
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tests.training.tiny import EchoRun, EchoTask

from gateflow.training.distributed import join_processes, leave_processes
from gateflow.training.loop import TrainingLoop


class SharedTask(EchoTask):
    """Each window from an empty state; the first process has three of the four rows."""

    def __init__(self, rank: int = 0, world_size: int = 1):
        super().__init__()
        if world_size == 2:
            self.data = self.data[:, :3] if rank == 0 else self.data[:, 3:]

    def start(self):
        return []

    def loss(self, model, batch, carried):
        loss, _ = model(*batch, None)
        return loss, batch[1].numel(), None


def main(path: Path) -> None:
    """Train to the end."""
    torch.set_num_threads(1)
    run = EchoRun(path)
    accelerator = join_processes(run.config().training)
    task = SharedTask(accelerator.process_index, accelerator.num_processes)
    TrainingLoop(task, run.config().training, run, accelerator).train()
    leave_processes(accelerator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

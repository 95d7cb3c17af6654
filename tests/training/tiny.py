"""A task small enough for tests: a recurrent layer learns to say back what it hears."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from gateflow.training.checkpoint import Checkpoint, Progress
from gateflow.training.config import RunConfig
from gateflow.training.new_run import new_run
from gateflow.training.optimizers import build_optimizer
from gateflow.training.runs import Run


class Echo(nn.Module):
    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.recurrent, self.output, self.dropout = nn.GRU(3, 8), nn.Linear(8, 3), nn.Dropout(dropout)

    def forward(self, x, y, carried):
        hidden, last = self.recurrent(x, carried and carried[0][0][None])
        loss = F.mse_loss(self.output(self.dropout(hidden)), y)
        return loss, [(last[0],)]


class EchoTask:
    """Six windows of five steps over a batch of four rows."""

    def __init__(self, dropout: float = 0.0, rank: int = 0, world_size: int = 1):
        torch.manual_seed(1)
        self.model: nn.Module = Echo(dropout)
        data = torch.randn(31, 4, 3, generator=torch.Generator().manual_seed(2))
        self.data = data.chunk(world_size, dim=1)[rank]

    def start(self):
        return [(torch.zeros(self.data.shape[1], 8),)]

    def windows_per_epoch(self):
        return 6

    def windows(self, epoch, start):
        for i in range(start, 6):
            x = self.data[5 * i : 5 * i + 6]
            yield x[1:], x[:-1]

    def loss(self, model, window, carried):
        loss, state = model(*window, carried)
        return loss, window[1].numel(), [tuple(part.detach() for part in layer) for layer in state]

    def validate(self, model):
        with torch.random.fork_rng():
            loss, _ = model(self.data[1:], self.data[:-1], None)
        return loss.item() * self.data[1:].numel(), self.data[1:].numel()

    def figures(self, loss):
        return {"rmse": loss**0.5}


def echo_run(path: Path, dropout: float = 0.0, **training) -> tuple[Run, RunConfig]:
    """A run of `Echo` at step 0."""
    options = {"lr": 0.01, "warmup": 0, "log_every": 2, "checkpoint_every": 4, "epochs": 3, **training}
    config = RunConfig.build({"data": {"train": "none"}, "training": options})
    model = EchoTask(dropout).model
    with new_run(path, config) as run:
        Checkpoint.of(model, build_optimizer(model, config.training), Progress()).write(run.checkpoint_file)
    return Run.open(path), config

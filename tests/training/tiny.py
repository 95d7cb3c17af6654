"""A task small enough for tests: a recurrent layer learns to say back what it hears."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from gateflow.runs.config import RunConfig
from gateflow.runs.new_run import new_run
from gateflow.runs.run import Run
from gateflow.training.checkpoint import Checkpoint, Progress
from gateflow.training.optimizers import build_optimizer


class Echo(nn.Module):
    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.recurrent, self.output, self.dropout = nn.GRU(3, 8), nn.Linear(8, 3), nn.Dropout(dropout)

    def forward(self, x, y, carried):
        hidden, last = self.recurrent(x, carried and carried[0][0][None])
        loss = F.mse_loss(self.output(self.dropout(hidden)), y)
        return loss, [(last[0],)]


class EchoConfig(RunConfig):
    task: Literal["echo"] = "echo"


class EchoRun(Run[EchoConfig]):
    kind: ClassVar = EchoConfig


class EchoTask:
    """Six windows of five steps over a batch of four rows."""

    metric = ("loss", "min")
    unit = "numbers"

    def __init__(self, dropout: float = 0.0, rank: int = 0, world_size: int = 1):
        torch.manual_seed(1)
        self.model: nn.Module = Echo(dropout)
        data = torch.randn(31, 4, 3, generator=torch.Generator().manual_seed(2))
        self.data = data.chunk(world_size, dim=1)[rank]

    def start(self):
        return [(torch.zeros(self.data.shape[1], 8),)]

    def batches_per_epoch(self):
        return 6

    def batches(self, epoch, start):
        for i in range(start, 6):
            x = self.data[5 * i : 5 * i + 6]
            yield x[1:], x[:-1]

    def loss(self, model, batch, carried):
        loss, state = model(*batch, carried)
        return loss, batch[1].numel(), [tuple(part.detach() for part in layer) for layer in state]

    def validate(self, model):
        with torch.random.fork_rng():
            loss, _ = model(self.data[1:], self.data[:-1], None)
        return {"loss": loss.item() * self.data[1:].numel()}, self.data[1:].numel()

    def figures(self, means):
        return {"rmse": means["loss"] ** 0.5}


def echo_run(path: Path, dropout: float = 0.0, **training) -> tuple[EchoRun, EchoConfig]:
    """A run of `Echo` at step 0."""
    options = {"lr": 0.01, "warmup": 0, "log_every": 2, "checkpoint_every": 4, "epochs": 3, **training}
    config = EchoConfig.build({"training": options})
    model = EchoTask(dropout).model
    with new_run(EchoRun, path, config) as run:
        Checkpoint.of(model, build_optimizer(model, config.training), Progress()).write(run.checkpoint_file)
    return EchoRun.open(path), config

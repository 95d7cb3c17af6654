"""A forecaster on gateflow's layers and the same on torch's: seconds of the updates of an epoch, in turns.

    python -m benchmarks.forecasting_speed [--sets made] [--hidden 32,64,128] [--batch-size 4,32] [--rounds 7]

Series, window and batches are those of `benchmarks.forecasting`; an update is forward, backward, clipping and AdamW. No
figure unless losses and gradients of both are the same.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.forecasting import SETS, write_table
from benchmarks.torch_layers import on_torch
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import Call, interleaved
from gateflow.tasks.forecaster.batches import SeriesBatch
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import set_up
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.task import ForecasterTask
from gateflow.training.optimizers import build_optimizer


def task_of(name: str, hidden: int, batch_size: int, folder: Path) -> tuple[ForecasterTask, ForecasterConfig]:
    """The task of a new run, without dropout, which is drawn otherwise on either layers."""
    config = SETS[name].config(0, {"hidden_size": hidden, "dropout": 0}, {"batch_size": batch_size})
    config = config.model_copy(update={"data": config.data.model_copy(update={"train": folder / "series.csv"})})
    write_table(config.data.train, SETS[name].series(), leave_out=SETS[name].test)
    return ForecasterTask(set_up(folder / "run", config), config), config


def judge(task: ForecasterTask, models: Sequence[ForecasterModel], batch: SeriesBatch) -> None:
    """All give the same loss and the same gradients."""
    found = []
    for model in models:
        loss = task.loss(model, batch, None)[0]
        found.append((loss, torch.autograd.grad(loss, list(dict(sorted(model.named_parameters())).values()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def updates(task: ForecasterTask, config: ForecasterConfig, model: ForecasterModel, batches: list[SeriesBatch]) -> Call:
    """An update on each batch."""
    optimizer = build_optimizer(model, config.training)

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad()
            task.loss(model, batch, None)[0].backward()
            nn.utils.clip_grad_norm_(model.parameters(), float(config.training.clip))
            optimizer.step()

    return run


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"type": lambda text: [int(n) for n in text.split(",")]}
    parser.add_argument("--sets", type=lambda text: text.split(","), default=["made"])
    parser.add_argument("--hidden", **sizes, default=[32, 64, 128])
    parser.add_argument("--batch-size", **sizes, default=[4, 32])
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    facts, console = machine(), Console(highlight=False)
    table = Table("set", "hidden", "rows", "steps/s", "torch.nn", "ratio", box=None)
    for name, hidden, rows in itertools.product(asked.sets, asked.hidden, asked.batch_size):
        with TemporaryDirectory() as folder:
            task, config = task_of(name, hidden, rows, Path(folder))
            models = {"ours": task.model, "torch": on_torch(task.model)}
            batches = list(task.batches(0, 0))
            judge(task, list(models.values()), batches[0])
            calls = {kind: updates(task, config, model, batches) for kind, model in models.items()}
            ours, peer = (each.median for each in interleaved(calls, rounds=asked.rounds).values())
        steps = sum(int(batch.lengths.sum()) for batch in batches)
        table.add_row(
            name, str(hidden), str(rows), f"{steps / ours:,.0f}", f"{steps / peer:,.0f}", f"{peer / ours:.2f}"
        )
    console.print(
        f"training, {facts['cpu']}, {facts['instructions']}, threads {facts['threads']}; medians", table, sep="\n"
    )


if __name__ == "__main__":
    main()

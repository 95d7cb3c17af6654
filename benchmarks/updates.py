"""Updates of a run's network on gateflow's layers and on torch's, in turns: how many targets a second each learns from.

    python -m benchmarks.updates RUN … [--batches 8] [--threads 1,2] [--rounds 7] [--json FILE]

RUN is a run of any task, trained or begun. Network, data, loss, optimizer and clipping are those of `gateflow train`,
and its first batches are what is measured; on torch's layers the model is that of `benchmarks.torch_layers`. Before a
clock starts both must give the same loss and the same gradients. `benchmarks.on_torch` trains a run to its end on
either, and tells what each reaches.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.classifying import on_threads
from benchmarks.torch_layers import on_torch
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import Call, interleaved
from gateflow.tasks import open_run
from gateflow.training.optimizers import build_optimizer


@dataclass(frozen=True)
class Figure:
    """Targets a second of both, and how many times as fast ours are: by medians, and by the fastest rounds."""

    run: str
    target: str
    threads: int
    ours: float
    torch_nn: float
    ratio: float
    ratio_of_fastest: float


def gradients(task: Any, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its gradients by name, where nothing is drawn."""
    model.eval()
    loss, _, _ = task.loss(model, batch, task.start())
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return loss.detach(), {name: g for name, g in zip(weights, found, strict=True) if g is not None}


def judge(task: Any, peer: nn.Module, batch: Any) -> None:
    """Both compute the same.

    Raises:
        AssertionError: they do not.
    """
    ours, theirs = gradients(task, task.model, batch), with_model(task, peer, lambda: gradients(task, peer, batch))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def with_model(task: Any, model: nn.Module, call: Call) -> Any:
    """What a call gives while the task has this model, which some losses ask for their device."""
    before, task.model = task.model, model
    try:
        return call()
    finally:
        task.model = before


def updates(task: Any, model: nn.Module, batches: Sequence[Any], training: Any) -> Call:
    """An update on each batch."""
    optimizer = build_optimizer(model, training)
    clip = float(training.clip) if training.clip != "auto" else 1.0

    def run() -> None:
        model.train()
        for batch in batches:
            optimizer.zero_grad()
            task.loss(model, batch, task.start())[0].backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()

    return lambda: with_model(task, model, run)


def measured(path: Path, batches: int, threads: int, rounds: int) -> Figure:
    """The updates of both, in turns."""
    run, description = open_run(path)
    config = run.config()
    task = description.part("build")(run, config, 0, 1)
    peer = on_torch(task.model)
    read = list(islice(task.batches(0, 0), batches))
    with on_threads(threads):
        judge(task, peer, read[0])
        count = sum(task.loss(task.model, batch, task.start())[1] for batch in read)
        calls = {"ours": updates(task, task.model, read, config.training)}
        calls["peer"] = updates(task, peer, read, config.training)
        times = interleaved(calls, rounds=rounds)
    mine, theirs = times["ours"], times["peer"]
    ratios = theirs.median / mine.median, theirs.fastest / mine.fastest
    return Figure(path.name, task.unit, threads, count / mine.median, count / theirs.median, *ratios)


def main(words: Sequence[str] | None = None) -> None:
    """Print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args(words)
    facts, table = machine(), Table("run", "threads", "a second", "torch.nn", "ratio", "of the fastest", box=None)
    figures = [measured(path, asked.batches, threads, asked.rounds) for path in asked.runs for threads in asked.threads]
    for f in figures:
        ratios = (f"{f.ratio:.2f}", f"{f.ratio_of_fastest:.2f}")
        table.add_row(f.run, str(f.threads), f"{f.ours:,.0f} {f.target}", f"{f.torch_nn:,.0f}", *ratios)
    Console(highlight=False).print(f"training, {facts['cpu']}, {facts['instructions']}; medians", table, sep="\n")
    if asked.json:
        found = {"machine": facts, "figures": [asdict(f) for f in figures]}
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""A classifier on gateflow's layers and the same on torch's: training steps, in turns.

    python -m benchmarks.classifying [--cases words,rows] [--threads 1,2] [--rounds 9] [--json FILE]

The network is `ClassifierModel` as `gateflow train classifier` builds it, of the sizes of five tasks; its peer has
torch's layers by packed sequences, as `benchmarks.torch_layers` puts them in, and the same weights; no figure unless
scores and gradients are the same. All else is one code. A step is forward, backward, clipping and AdamW; batches hold
sequences of about one length, as those of a training do. Numbers and labels are drawn: what is learnt takes no time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.torch_layers import on_torch
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import Call, interleaved
from gateflow.tasks.classifier.batches import Batch
from gateflow.tasks.classifier.config import ClassifierNetworkConfig, ClassifierTraining
from gateflow.tasks.classifier.model import ClassifierModel, TextModel
from gateflow.training.optimizers import build_optimizer

# Batches of a round; and how much shorter than the longest of a batch the shortest sequence is.
BATCHES, SHORTEST = 4, 0.8


@dataclass(frozen=True)
class Case:
    """The sizes of a task.

    Attributes:
        rows, steps: of a batch; `steps` is the longest sequence.
        read: numbers a step, or how many different tokens there are.
        labels: how many there are.
        tokens: whether vectors of tokens are read.
        ragged: whether lengths differ.
        cell, layers: of the network; all else is the default.
    """

    rows: int
    steps: int
    read: int
    labels: int
    tokens: bool = False
    ragged: bool = True
    cell: str = "lstm"
    layers: int = 1

    def model(self) -> ClassifierModel:
        """As a training builds it."""
        config = ClassifierNetworkConfig(cell=self.cell, layers=self.layers)
        options = {**config.of_layers(), "read_out": config.read_out, "bidirectional": config.bidirectional}
        if self.tokens:
            size, share = config.embedding_size, config.word_dropout
            return TextModel(self.read, self.labels, embedding_size=size, word_dropout=share, **options)
        return ClassifierModel(self.read, self.labels, **options)

    def batch(self) -> Batch:
        """One whose longest sequence has all steps."""
        least = int(SHORTEST * self.steps) if self.ragged else self.steps
        lengths = torch.randint(least, self.steps + 1, (self.rows,))
        lengths[0] = self.steps
        shape = (self.steps, self.rows)
        steps = torch.randint(self.read, shape) if self.tokens else torch.randn(*shape, self.read)
        return Batch(steps, lengths, torch.randint(self.labels, (self.rows,)))


CASES = {
    "words": Case(rows=32, steps=20, read=16_000, labels=2, tokens=True),
    "syllables": Case(rows=64, steps=35, read=2_000, labels=2, tokens=True),
    "rows": Case(rows=32, steps=28, read=28, labels=10, ragged=False),
    "vowels": Case(rows=32, steps=16, read=12, labels=9),
    "digits": Case(rows=32, steps=50, read=40, labels=10, cell="gru", layers=2),
}


@dataclass(frozen=True)
class Figure:
    """One row: steps of sequences a second, by the medians, and how many times faster ours are."""

    case: str
    threads: int
    ours: float
    torch_nn: float
    ratio: float
    ratio_of_fastest: float


def judge(ours: ClassifierModel, peer: ClassifierModel, batch: Batch) -> None:
    """Both give the same scores and the same gradients, where nothing is drawn."""
    found = []
    assert batch.targets is not None
    for model in (ours.eval(), peer.eval()):
        scores = model(batch)
        loss = model.losses(scores, batch.targets) / len(batch.targets)
        found.append((scores, torch.autograd.grad(loss, list(dict(sorted(model.named_parameters())).values()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def step(model: ClassifierModel, batches: Sequence[Batch]) -> Call:
    """A training step on each batch."""
    model.train()
    settings = ClassifierTraining()
    optimizer = build_optimizer(model, settings)

    def run() -> None:
        for batch in batches:
            assert batch.targets is not None
            optimizer.zero_grad()
            (model.losses(model(batch), batch.targets) / len(batch.targets)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), float(settings.clip))
            optimizer.step()

    return run


def measured(name: str, threads: int, rounds: int) -> Figure:
    """The steps of both, in turns."""
    torch.manual_seed(0)
    ours = CASES[name].model()
    peer, batches = on_torch(ours), [CASES[name].batch() for _ in range(BATCHES)]
    with on_threads(threads):
        judge(ours, peer, batches[0])
        times = interleaved({"ours": step(ours, batches), "peer": step(peer, batches)}, rounds=rounds)
    mine, theirs = times["ours"], times["peer"]
    count = sum(int(batch.lengths.sum()) for batch in batches)
    ratios = theirs.median / mine.median, theirs.fastest / mine.fastest
    return Figure(name, threads, count / mine.median, count / theirs.median, *ratios)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Within the block so many threads compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def show(figures: Sequence[Figure], console: Console) -> None:
    """A table."""
    facts = machine()
    table = Table("case", "threads", "steps/s", "torch.nn", "ratio", "of the fastest", box=None)
    for f in figures:
        ratios = (f"{f.ratio:.2f}", f"{f.ratio_of_fastest:.2f}")
        table.add_row(f.case, str(f.threads), f"{f.ours:,.0f}", f"{f.torch_nn:,.0f}", *ratios)
    console.print(f"training, {facts['cpu']}, {facts['instructions']}; medians", table, sep="\n")


def main(words: Sequence[str] | None = None) -> None:
    """Print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args(words)
    figures = [measured(name, threads, asked.rounds) for name in asked.cases for threads in asked.threads]
    show(figures, Console(highlight=False))
    if asked.json:
        found = {"machine": machine(), "figures": [asdict(f) for f in figures]}
        asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

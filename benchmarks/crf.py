"""What a CRF costs in the training of a tagger, and beside `pytorch-crf`.

    python -m benchmarks.crf [--rows 32] [--steps 49] [--hidden 256] [--rounds 7]

Rows have 1 to `--steps` words. In turns, in one process: the log-likelihood of a batch with its gradients, the best
sequences, and forward and backward of the bidirectional LSTM that would stand below. Both CRFs have the same weights,
and no figure unless they have the same log-likelihood, gradients and best sequences. `pytorch-crf` knows no forbidden
transitions; beside ours with some it has penalties of -10,000, as its users write.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torchcrf
from rich.console import Console
from rich.table import Table

from gateflow import LinearChainCRF, Recurrent
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import interleaved

PENALTY = -10_000.0


class Batch:
    """Scores, tags and lengths of one batch, and the CRFs that look at it."""

    def __init__(self, tags: int, types: int, rows: int, steps: int):
        self.lengths = torch.randint(1, steps + 1, (rows,))
        self.lengths[0] = steps
        self.mask = torch.arange(steps)[:, None] < self.lengths
        self.scores = torch.randn(steps, rows, tags, requires_grad=True)
        self.ours = LinearChainCRF(tags, **bio(types)) if types else LinearChainCRF(tags)
        for weight in self.ours.parameters():
            torch.nn.init.uniform_(weight, -0.1, 0.1)
        self.theirs = with_penalties(self.ours)
        self.tags = self.ours.decode(self.scores, self.lengths)

    def calls(self) -> dict[str, Callable[[], Any]]:
        """One training step and one decoding of each."""
        return {
            "ours": lambda: self.gradients(self.ours.log_likelihood(self.scores, self.tags, self.lengths).sum()),
            "theirs": lambda: self.gradients(self.theirs(self.scores, self.tags.clamp(min=0), self.mask)),
            "ours, decoding": lambda: self.ours.decode(self.scores, self.lengths),
            "theirs, decoding": lambda: self.theirs.decode(self.scores, self.mask),
        }

    def gradients(self, likelihood: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of the scores and of whichever transitions took part."""
        weights = [*self.ours.parameters(), *self.theirs.parameters()]
        found = torch.autograd.grad(likelihood, [self.scores, *weights], allow_unused=True)
        return likelihood.detach(), *(part for part in found if part is not None)

    def judge(self) -> None:
        """Both compute the same."""
        calls = self.calls()
        (ours, gradient, *_), (theirs, other, *_) = calls["ours"](), calls["theirs"]()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4)
        decoded = calls["ours, decoding"]().t().tolist()
        assert [row[:n] for row, n in zip(decoded, self.lengths, strict=True)] == calls["theirs, decoding"]()


def bio(types: int) -> dict[str, list[Any]]:
    """Which tags may follow each other: O, then B and I of each type; I only within a span of its type."""
    inside = [None, *(k // 2 if k % 2 else None for k in range(2 * types))]
    of = [None, *(k // 2 for k in range(2 * types))]
    K = len(of)
    inner = [[inside[j] is None or of[i] == inside[j] for j in range(K)] for i in range(K)]
    return {"begin": [name is None for name in inside], "inner": inner}


def with_penalties(crf: LinearChainCRF) -> torchcrf.CRF:
    """`pytorch-crf` with the same weights."""
    peer = torchcrf.CRF(crf.num_tags)
    with torch.no_grad():
        peer.start_transitions.copy_(crf.begin.masked_fill(~crf.may_begin, PENALTY))
        peer.transitions.copy_(crf.transitions.masked_fill(~crf.may_follow, PENALTY))
        peer.end_transitions.copy_(crf.end.masked_fill(~crf.may_end, PENALTY))
    return peer


def layer_step(hidden: int, lengths: torch.Tensor) -> Callable[[], Any]:
    """Forward and backward of the layer below: `hidden` numbers in, `hidden` units per direction."""
    layer, x = (
        Recurrent("lstm", hidden, hidden, bidirectional=True),
        torch.randn(int(lengths.max()), len(lengths), hidden),
    )
    x.requires_grad_()
    cotangent = torch.randn(*x.shape[:2], 2 * hidden)

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        layer(x, lengths=lengths)[0].backward(cotangent)

    return step


def main() -> None:
    """Print a line per number of tags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rows": 32, "steps": 49, "hidden": 256, "rounds": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    table = Table("tags", "words", "layer", "CRF", "share", "pytorch-crf", "ratio", "decoding", "pytorch-crf", "ratio")
    table.title = f"ms per batch, {machine()['cpu']}, {torch.get_num_threads()} threads; medians"
    for tags, types in ((17, 0), (13, 6)):
        batch = Batch(tags, types, chosen.rows, chosen.steps)
        batch.judge()
        calls = {"layer": layer_step(chosen.hidden, batch.lengths), **batch.calls()}
        ms = {name: 1e3 * timing.median for name, timing in interleaved(calls, rounds=chosen.rounds).items()}
        cells = [ms["layer"], ms["ours"], f"{ms['ours'] / (ms['layer'] + ms['ours']):.1%}"]
        for ours, theirs in (("ours", "theirs"), ("ours, decoding", "theirs, decoding")):
            cells += [*([ms[ours]] if "decoding" in ours else []), ms[theirs], ms[theirs] / ms[ours]]
        name = f"{tags}, BIO of {types} types" if types else str(tags)
        words = (cell if isinstance(cell, str) else f"{cell:.2f}" for cell in cells)
        table.add_row(name, str(int(batch.lengths.sum())), *words)
    Console().print(table)


if __name__ == "__main__":
    main()

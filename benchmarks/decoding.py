"""Lines a second of CTC decoding on one core: best path, beam search, with a language model, beside pyctcdecode.

    OMP_NUM_THREADS=1 python -m benchmarks.decoding [--lines 32] [--beam 16] [--rounds 7]

Two kinds of lines: of print (220 frames, 165 classes, some 55 characters) and of speech (500 frames, 32 classes, some
90). They are made as a trained network has them: most frames hold a blank and little else, a character is one or two
frames, and about one in ten is in doubt. In turns, in one process; for scale the forward pass of the network that would
have made them, a bidirectional LSTM of two layers of 256 units. `pip install --no-deps pyctcdecode pygtrie` adds
pyctcdecode, at its own thresholds and at ours; without a language model, as its wheel is. The share of lines for which
both find one text is told, since their thresholds differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gateflow import Recurrent
from gateflow.benchmarking.machine import machine
from gateflow.benchmarking.timing import interleaved
from gateflow.data.tokenizer import UNKNOWN, assemble
from gateflow.decoding.ctc import align, best_path, native, prefix_beam_search
from gateflow.tasks.language_model.character_scorer import CharacterScorer
from gateflow.tasks.language_model.model import LanguageModel

KINDS = {"print": (220, 165, 55), "speech": (500, 32, 90)}
LEAST = 1e-4
# From the private use area: pyctcdecode treats a space, and some letters, as more than a letter.
FIRST_LETTER = 0xE000


def lines_of(frames: int, lines: int, classes: int, characters: int) -> Tensor:
    """Log probabilities `[T, N, C]`, as a trained network has them."""
    scores = 1.5 * torch.randn(frames, lines, classes)
    scores[:, :, 0] += 14
    for n in range(lines):
        for t in torch.randperm(frames - 1)[:characters].tolist():
            symbol, rival = torch.randint(1, classes, (2,)).tolist()
            certain, longer, doubtful = torch.randn(3).tolist()
            scores[t, n, symbol] += 16 + 3 * certain
            scores[t, n, 0] -= 3
            scores[t + 1, n, symbol] += 11 + 3 * longer
            scores[t, n, rival] += 9 + 3 * doubtful
    return scores.log_softmax(2)


def in_numpy(call: Callable[[], Any]) -> Callable[[], Any]:
    """The same on the path without a compiler."""

    def run() -> Any:
        before, native.is_there = native.is_there, lambda lines: False
        try:
            return call()
        finally:
            native.is_there = before

    return run


def network(log_probs: Tensor) -> Callable[[], Tensor]:
    """The forward pass of a network that gives as many numbers."""
    T, N, C = log_probs.shape
    layer = Recurrent("lstm", 64, 256, num_layers=2, bidirectional=True).eval()
    head, x = torch.nn.Linear(512, C), torch.randn(T, N, 64)

    @torch.no_grad()
    def run() -> Tensor:
        return head(layer(x)[0]).log_softmax(2)

    return run


def language_model(classes: int) -> CharacterScorer:
    """One of characters, untrained, which costs what a trained one does."""
    letters = [chr(FIRST_LETTER + c) for c in range(classes)]
    vocabulary = {UNKNOWN: 0, "\n": 1, **{letter: k + 2 for k, letter in enumerate(letters[1:])}}
    model = LanguageModel(len(vocabulary), embedding_size=128, hidden_size=256, num_layers=1).eval()
    return CharacterScorer(model, assemble("char", vocabulary), letters)


def theirs(log_probs: Tensor, beam: int, least: float | None) -> Callable[[], list[list[int]]]:
    """Pyctcdecode, a line at a time as it has it; at `least`, or at its own thresholds."""
    from pyctcdecode import build_ctcdecoder

    decoder = build_ctcdecoder(["", *(chr(FIRST_LETTER + c) for c in range(1, log_probs.shape[2]))])
    lines = [each.contiguous().numpy() for each in log_probs.unbind(1)]
    # With an infinite threshold it prunes by the beam alone, as we do.
    options = {} if least is None else {"token_min_logp": math.log(least), "beam_prune_logp": -math.inf}

    def run() -> list[list[int]]:
        texts = [decoder.decode(line, beam_width=beam, **options) for line in lines]
        return [[ord(letter) - FIRST_LETTER for letter in text] for text in texts]

    return run


def calls_of(log_probs: Tensor, beam: int) -> dict[str, Callable[[], Any]]:
    """What is timed."""
    texts = [each[0].tokens for each in prefix_beam_search(log_probs, beam=beam)]
    model, short = language_model(log_probs.shape[2]), log_probs[:, : max(1, log_probs.shape[1] // 4)]
    calls: dict[str, Callable[[], Any]] = {
        "network": network(log_probs),
        "best path": lambda: best_path(log_probs),
        f"beam {beam}": lambda: prefix_beam_search(log_probs, beam=beam),
        f"beam {beam}, 5 best": lambda: prefix_beam_search(log_probs, beam=beam, nbest=5),
        "alignment": lambda: align(log_probs, None, texts),
        f"beam {beam}, in numpy": in_numpy(lambda: prefix_beam_search(log_probs, beam=beam)),
        f"beam {beam}, language model": lambda: prefix_beam_search(log_probs, beam=beam, language_model=model),
    }
    if importlib.util.find_spec("pyctcdecode"):
        calls["pyctcdecode"] = theirs(short, beam, None)
        calls["pyctcdecode, our thresholds"] = theirs(short, beam, LEAST)
    return calls


def main() -> None:
    """Print a table for each kind of lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"lines": 32, "beam": 16, "rounds": 7}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    chosen = parser.parse_args()
    for kind, (frames, classes, characters) in KINDS.items():
        torch.manual_seed(0)
        log_probs = lines_of(frames, chosen.lines, classes, characters)
        calls = calls_of(log_probs, chosen.beam)
        times = interleaved(calls, rounds=chosen.rounds)
        table = Table(kind, "lines/s", "ms a line", "times the best path", "same texts")
        table.title = f"{machine()['cpu']}, {torch.get_num_threads()} threads; medians"
        ours = [each[0].tokens for each in prefix_beam_search(log_probs, beam=chosen.beam)]
        basis = times["best path"].median / chosen.lines
        for name, call in calls.items():
            peer = name.startswith("pyctcdecode")
            count = max(1, chosen.lines // 4) if peer else chosen.lines
            each = times[name].median / count
            agree = f"{sum(a == b for a, b in zip(ours, call(), strict=False))} of {count}" if peer else ""
            table.add_row(name, f"{1 / each:,.0f}", f"{1e3 * each:.3f}", f"{each / basis:.1f}", agree)
        Console().print(table)


if __name__ == "__main__":
    main()

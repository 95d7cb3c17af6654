"""From probabilities of characters at each step to a text: which text, and where each of its characters is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gateflow.tasks.transcriber.alphabet import BLANK

__all__ = ["Hypothesis", "best_path"]


@dataclass(frozen=True)
class Hypothesis:
    tokens: list[int]
    score: float
    spans: list[tuple[int, int]]
    confidences: list[float]


def best_path(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The likeliest class of each step, without repetitions and blanks."""
    values, classes = log_probs.max(-1)
    found = []
    for row, length in enumerate(lengths.tolist()):
        found.append(_collapsed(classes[:length, row].tolist(), values[:length, row].tolist()))
    return found


def _collapsed(classes: Sequence[int], values: Sequence[float]) -> Hypothesis:
    import math

    tokens, spans, confidences = [], [], []
    before = BLANK
    for step, (token, value) in enumerate(zip(classes, values, strict=True)):
        if token != before and token != BLANK:
            tokens.append(token)
            spans.append((step, step))
            confidences.append(math.exp(value))
        elif token == before and token != BLANK:
            spans[-1] = (spans[-1][0], step)
            confidences[-1] = max(confidences[-1], math.exp(value))
        before = token
    return Hypothesis(tokens, sum(values), spans, confidences)

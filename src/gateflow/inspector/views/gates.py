"""What the gates of a layer do at each step, over its units."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from gateflow.inspector.views.question import Answer, OfText
from gateflow.inspector.views.reading import Reading

__all__ = ["Band", "GatesAnswer", "GatesQuestion", "gates"]

# The middle 80 % of units.
LOW, HIGH = 0.1, 0.9


class GatesQuestion(OfText):
    """How open are the gates?"""

    layer: str = Field(max_length=200)


class Band(Answer):
    """A gate at each step: the mean over units, and between which values eight tenths of them lie."""

    gate: str
    kind: str
    mean: list[float]
    low: list[float]
    high: list[float]


class GatesAnswer(Answer):
    """All gates of a layer.

    Attributes:
        half_lives: of units in steps, the longest first; None for one that never ends.
        keeper: the gate that decides them, if there is one.
    """

    tokens: list[str]
    gates: list[Band]
    half_lives: list[float | None]
    keeper: str | None


def gates(reading: Reading, question: GatesQuestion) -> GatesAnswer:
    """Means and bands; see `gateflow.flow.gates` for half-lives."""
    found = reading.gates(question.layer)
    lives = [] if found.half_lives is None else sorted(found.half_lives.tolist(), reverse=True)
    return GatesAnswer(
        tokens=reading.names(question.layer),
        gates=[_band(name, gate.kind, gate.values[:, 0]) for name, gate in found.activations.items()],
        half_lives=lives,
        keeper=found.keeper and found.keeper[0],
    )


def _band(name: str, kind: str, values: Tensor) -> Band:
    low, high = values.quantile(torch.tensor([LOW, HIGH], dtype=values.dtype), dim=1).tolist()
    return Band(gate=name, kind=kind, mean=values.mean(1).tolist(), low=low, high=high)

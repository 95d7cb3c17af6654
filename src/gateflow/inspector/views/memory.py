"""What the units of a layer hold at each step: a part of its state, or a gate."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gateflow.errors import ConfigError
from gateflow.inspector.views.question import Answer, OfText, Span
from gateflow.inspector.views.reading import Reading

__all__ = ["Memory", "MemoryQuestion", "OfPart", "correlations", "memory"]


class OfPart(OfText):
    """A part of a layer: a part of its state, or a gate, by the name that the cell gives it."""

    layer: str = Field(max_length=200)
    part: str = Field(max_length=200)


class MemoryQuestion(OfPart):
    """What do the units hold?

    Attributes:
        order: of units: by their number, by half-life, the longest first, or by the size of their correlation with a
            span, within which a unit that belongs to it is different.
        span: the steps that units are correlated with.
        most: so many units are answered.
    """

    order: Literal["number", "half-life", "correlation"] = "half-life"
    span: Span | None = None
    most: int = Field(default=64, ge=1, le=4096)


class Memory(Answer):
    """The values of units over steps.

    Attributes:
        units: their numbers, in the order that was asked for.
        values: a row for each of them.
        half_lives: of each, in steps; None where it is not known or never ends.
        correlations: of each with the span, if there is one.
        count: of all units.
    """

    tokens: list[str]
    units: list[int]
    values: list[list[float]]
    half_lives: list[float | None]
    correlations: list[float] | None
    count: int


def memory(reading: Reading, question: MemoryQuestion) -> Memory:
    """The values, some units of them."""
    values = reading.part(question.layer, question.part)
    count = values.shape[1]
    lives = reading.gates(question.layer).half_lives
    # A projection has fewer units than the memory whose half-lives are known.
    lives = None if lives is None or len(lives) != count else lives
    found = None if question.span is None else correlations(values, question.span)
    order = _order(question, lives, found, count)[: question.most]
    return Memory(
        tokens=reading.names(question.layer),
        units=order.tolist(),
        values=_rounded(values.T[order]),
        half_lives=[None] * len(order) if lives is None else lives[order].tolist(),
        correlations=None if found is None else found[order].tolist(),
        count=count,
    )


def correlations(values: Tensor, span: Span) -> Tensor:
    """Pearson's correlation of each unit's course ``[T, H]`` with being in the span; 0 where a unit never changes.

    Raises:
        ConfigError: the span does not lie within the steps.
    """
    steps = len(values)
    if span.end > steps or span.end - span.begin == steps:
        raise ConfigError(f"steps {span.begin} to {span.end} must leave some of the {steps} steps out.")
    inside = torch.zeros(steps, dtype=torch.float64)
    inside[span.begin : span.end] = 1
    a, b = inside - inside.mean(), values.double() - values.double().mean(0)
    size = a.norm() * b.norm(dim=0)
    return torch.where(size > 0, (a @ b) / size.clamp_min(1e-300), 0.0)


def _order(question: MemoryQuestion, lives: Tensor | None, found: Tensor | None, count: int) -> Tensor:
    if question.order == "correlation":
        if found is None:
            raise ConfigError("units are sorted by their correlation with a span: choose some steps.")
        return found.abs().argsort(descending=True, stable=True)
    if question.order == "half-life" and lives is not None:
        return lives.nan_to_num(0.0, posinf=torch.inf).argsort(descending=True, stable=True)
    return torch.arange(count)


def _rounded(values: Tensor) -> list[list[float]]:
    # Four digits are more than a colour shows, and half the bytes.
    return [[round(x, 4) for x in row] for row in values.tolist()]

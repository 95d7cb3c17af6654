"""Spans of other texts in which the same units are on: how one finds out what a group of units stands for.

Source: Strobelt, Gehrmann, Pfister, Rush (2018). LSTMVis: a tool for visual analysis of hidden state dynamics in
recurrent neural networks. IEEE TVCG 24(1). arXiv:1606.07461.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from torch import Tensor

from gateflow.errors import ConfigError
from gateflow.inspector.views.memory import OfPart
from gateflow.inspector.views.question import Answer, Span
from gateflow.inspector.views.reading import Reading

__all__ = ["Alike", "AlikeQuestion", "Found", "alike", "units_on"]

# Spans that are told.
MOST = 12


class AlikeQuestion(OfPart):
    """Where are the units on that are on over a span?

    Attributes:
        threshold: above it a unit is on.
        span: of steps, over all of which they are.
    """

    threshold: float = Field(default=0.3, ge=-1000, le=1000)
    span: Span


class Found(Answer):
    """A span of an example.

    Attributes:
        example: its number.
        match: the units that are on over both spans as a share of those that are over either.
    """

    example: int
    tokens: list[str]
    begin: int
    end: int
    match: float


class Alike(Answer):
    """The units, and the spans that look alike, the best first; at most one of an example."""

    units: list[int]
    found: list[Found]


def alike(
    reading: Reading, question: AlikeQuestion, of_example: Callable[[int], Reading], tick: Callable[[int, int], None]
) -> Alike:
    """Looks for the units in all examples.

    Args:
        reading: of the text with the span.
        question: the span.
        of_example: the reading of an example by its number.
        tick: told how many of how many examples have been looked at; what it raises ends the search.

    Raises:
        ConfigError: no unit is on over the whole span.
    """
    wanted = units_on(reading, question)
    length, count = question.span.end - question.span.begin, len(reading.inspected.examples())
    found = []
    for number in range(count):
        tick(number, count)
        other = of_example(number)
        best = _best(other.part(question.layer, question.part) > question.threshold, wanted, length)
        if best is not None:
            match, begin = best
            names = other.names(question.layer)
            found.append(Found(example=number, tokens=names, begin=begin, end=begin + length, match=match))
    found.sort(key=lambda each: -each.match)
    return Alike(units=wanted.nonzero()[:, 0].tolist(), found=found[:MOST])


def units_on(reading: Reading, question: AlikeQuestion) -> Tensor:
    """Truth values ``[H]``: which units are above the threshold over all of the span.

    Raises:
        ConfigError: none is.
    """
    values = reading.part(question.layer, question.part)
    if question.span.end > len(values):
        raise ConfigError(f"the text has {len(values)} steps, and the span ends at {question.span.end}.")
    on = (values[question.span.begin : question.span.end] > question.threshold).all(0)
    if not on.any():
        raise ConfigError(
            f"no unit is above {question.threshold:g} over all of this span; lower the threshold or shorten the span."
        )
    return on


def _best(on: Tensor, wanted: Tensor, length: int) -> tuple[float, int] | None:
    """The best match of a window of this length, and where it begins; None where the text is shorter."""
    if len(on) < length:
        return None
    whole = on.unfold(0, length, 1).all(-1)
    both, either = (whole & wanted).sum(1), (whole | wanted).sum(1)
    match = both.double() / either
    begin = int(match.argmax())
    return float(match[begin]), begin

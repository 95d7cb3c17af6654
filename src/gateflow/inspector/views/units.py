"""Which unit a prediction hangs on: each by itself is held at a value, and the prediction made again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field

from gateflow.inspector.views.intervention import Hold, hidden_with
from gateflow.inspector.views.outcomes import number_of, output_of, row_of
from gateflow.inspector.views.question import Answer, OfText, Outcome
from gateflow.inspector.views.reading import Reading

__all__ = ["Units", "UnitsQuestion", "units"]


class UnitsQuestion(OfText):
    """What does each unit do to a prediction?

    Attributes:
        place, output, these, those: the prediction; see `AttributionQuestion`.
        hold: as which each unit is held, one after the other; `units` of it says which ones, all if it is empty.
    """

    place: int = Field(ge=0)
    output: str | None = Field(default=None, max_length=200)
    these: Outcome
    those: Outcome
    hold: Hold


class Units(Answer):
    """For each unit what becomes of ``score(these) − score(those)``, in the order of their numbers.

    Attributes:
        before: what it is when none is held.
    """

    before: float
    units: list[int]
    after: list[float]


def units(reading: Reading, question: UnitsQuestion, tick: Callable[[int, int], None]) -> Units:
    """One run of the model for each unit.

    Args:
        reading: of the text.
        question: the prediction and the hold.
        tick: told how many of how many units have been held; what it raises ends the work.
    """
    output, row, hold = output_of(reading, question.output), row_of(reading, question.place), question.hold
    these, those = (number_of(reading, output, outcome) for outcome in (question.these, question.those))

    @torch.no_grad()
    def difference(hidden: torch.Tensor) -> float:
        scores = reading.inspected.scores(hidden[row : row + 1])[output][0]
        return float(scores[these] - scores[those])

    hidden_with(reading, [hold])  # what cannot be held is refused before the first unit
    numbers = hold.units or tuple(range(reading.part(hold.layer, hold.part).shape[1]))
    after = []
    for done, unit in enumerate(numbers):
        tick(done, len(numbers))
        after.append(difference(hidden_with(reading, [hold.model_copy(update={"units": (unit,)})])))
    return Units(before=difference(reading.hidden.detach()), units=list(numbers), after=after)

"""What a model says at each step: how surprising what came was, and what is likeliest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gateflow.errors import ConfigError, among
from gateflow.inspector.views.question import Answer, OfText, Outcome
from gateflow.inspector.views.reading import Reading
from gateflow.tasks.inspection import Inspected

__all__ = ["Likely", "Read", "ReadQuestion", "Row", "likeliest", "number_of", "output_of", "read", "row_of"]

LIKELIEST = 5


class ReadQuestion(OfText):
    """What does the model expect, at each step of a text?"""


class Likely(Answer):
    """An outcome and its probability, or the number that is forecast."""

    number: int
    name: str
    p: float


class Row(Answer):
    """One output at one step: the likeliest, and the bits of surprise at what came."""

    best: list[Likely]
    came: Likely | None = None
    surprise: float | None = None


class Read(Answer):
    """The steps of a text, and for each output a row of what is expected: of the next step, of each, or of the whole.

    `rows[output][i]` is about step `i`, or, of a model that predicts, about what comes at step `i`: one row more than
    there are steps, the last of which is about what would follow. The first is None where nothing is read before it.
    """

    tokens: list[str]
    unknown: list[str]
    rows: dict[str, list[Row | None]]


def read(reading: Reading, question: ReadQuestion) -> Read:
    """Surprise in bits, ``-log₂ p``, and the five likeliest."""
    names, about = reading.steps.names, reading.inspected.about
    rows: dict[str, list[Row | None]] = {}
    for output, log_p in reading.log_probabilities.items():
        came = _came(reading, len(log_p)) if about == "next" else [None] * len(log_p)
        best = likeliest(reading.inspected, output, log_p)
        found: list[Row | None] = [
            Row(best=b, came=_likely(reading.inspected, output, p, n), surprise=_bits(p, n))
            for b, p, n in zip(best, log_p, came, strict=True)
        ]
        rows[output] = [None, *found] if about == "next" else found
    return Read(tokens=list(names), unknown=list(reading.steps.unknown), rows=rows)


def likeliest(inspected: Inspected, output: str, log_p: Tensor) -> list[list[Likely]]:
    """The likeliest outcomes of each row of ``[N, K]``."""
    values, numbers = log_p.topk(min(LIKELIEST, log_p.shape[1]), dim=1)
    names = inspected.outcomes[output]
    rows: list[list[int]] = numbers.tolist()
    shown: list[list[float]] = (values if output == "number" else values.exp()).tolist()
    return [
        [Likely(number=n, name=names[n], p=p) for n, p in zip(row, ps, strict=True)]
        for row, ps in zip(rows, shown, strict=True)
    ]


def output_of(reading: Reading, name: str | None) -> str:
    """The output of that name, or the first.

    Raises:
        ConfigError: there is none.
    """
    outputs = list(reading.inspected.outcomes)
    if not outputs:
        raise ConfigError("this task has nothing to choose between; its memory, gates and training are shown.")
    if name is not None and name not in outputs:
        raise ConfigError(f"there is no output {name!r:.60}; {among(name, outputs)}.")
    return name or outputs[0]


def number_of(reading: Reading, output: str, outcome: Outcome) -> int:
    """The number of an outcome.

    Raises:
        ConfigError: there is none of that number or name.
    """
    names = reading.inspected.outcomes[output]
    if isinstance(outcome, int):
        found = outcome if outcome < len(names) else None
    else:
        known = reading.inspected.number(outcome)
        found = known if known is not None else next((i for i, name in enumerate(names) if name == outcome), None)
    if found is None:
        raise ConfigError(f"the model does not know {outcome!r:.60}; choose one of what it can say.")
    return found


def row_of(reading: Reading, place: int) -> int:
    """Which row of scores is about a place.

    Raises:
        ConfigError: nothing is predicted there.
    """
    rows, about = len(reading.hidden), reading.inspected.about
    row = 0 if about == "whole" else place - (about == "next")
    if not 0 <= row < rows:
        raise ConfigError(f"nothing is predicted at place {place} of {len(reading.steps.names)}; choose a later one.")
    return row


def _came(reading: Reading, rows: int) -> list[int | None]:
    """The numbers of the tokens that came after each row, where there are any."""
    data = reading.steps.data
    numbers = data.tolist() if isinstance(data, torch.Tensor) else []
    return [*numbers[1:], None][:rows]


def _likely(inspected: Inspected, output: str, log_p: Tensor, number: int | None) -> Likely | None:
    if number is None:
        return None
    return Likely(number=number, name=inspected.outcomes[output][number], p=float(log_p[number].exp()))


def _bits(log_p: Tensor, number: int | None) -> float | None:
    return None if number is None else -float(log_p[number]) / math.log(2)

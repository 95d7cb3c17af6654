"""Which steps a prediction depends on: the signed contrastive gradient of two outcomes, times what was read."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from gateflow.inspector.views.outcomes import number_of, output_of, row_of
from gateflow.inspector.views.question import Answer, OfText, Outcome
from gateflow.inspector.views.reading import Reading

__all__ = ["Attribution", "AttributionQuestion", "attribution", "contributions"]


class AttributionQuestion(OfText):
    """Which steps speak for `these`, and which for `those`?

    Attributes:
        place: the step that the prediction is about; the number of steps for what would follow.
        output: such as a column of a tagger; the first one if left out.
        these: an outcome; the likeliest if left out.
        those: what it is compared with; None for the logarithm of the probability of `these` alone.
        against: whether an outcome is compared with the likeliest other one if `those` is left out.
    """

    place: int = Field(ge=0)
    output: str | None = Field(default=None, max_length=200)
    these: Outcome | None = None
    those: Outcome | None = None
    against: Literal["likeliest", "all"] = "likeliest"


class Attribution(Answer):
    """For each step how much it speaks for `these`; below zero, for `those`.

    Attributes:
        value: what was differentiated: the difference of the scores, or the logarithm of the probability.
    """

    output: str
    these: str
    those: str | None
    value: float
    steps: list[float]


def attribution(reading: Reading, question: AttributionQuestion) -> Attribution:
    """``Σ_e x_{k,e} · ∂(score(these) − score(those)) / ∂x_{k,e}``, or of ``log p(these)``, for each step ``k``.

    Source: of contrasts, Yin, Neubig (2022). Interpreting language models with contrastive explanations. EMNLP.
    arXiv:2202.10419. Of gradient times input, Shrikumar et al. (2016), arXiv:1605.01713.
    """
    output, row = output_of(reading, question.output), row_of(reading, question.place)
    log_p, names = reading.log_probabilities[output][row], reading.inspected.outcomes[output]
    these = int(log_p.argmax()) if question.these is None else number_of(reading, output, question.these)
    those = None if question.those is None else number_of(reading, output, question.those)
    if question.those is None and question.against == "likeliest" and len(log_p) > 1:
        those = next(n for n in log_p.argsort(descending=True).tolist() if n != these)
    value, steps = contributions(reading, output, row, these, those)
    return Attribution(
        output=output,
        these=names[these],
        those=None if those is None else names[those],
        value=value,
        steps=steps.tolist(),
    )


def contributions(reading: Reading, output: str, row: int, these: int, those: int | None) -> tuple[float, Tensor]:
    """What is differentiated, and what each step has of it, ``[T]``."""
    inspected = reading.inspected
    with torch.enable_grad():
        if those is None:
            # Of a sequence of tags the probability of one depends on the scores of all steps.
            every = inspected.scores(reading.hidden)[output]
            value = inspected.log_probabilities(output, every)[row, these]
        else:
            scores = inspected.scores(reading.hidden[row : row + 1])[output][0]
            value = scores[these] - scores[those]
        (gradient,) = torch.autograd.grad(value, reading.vectors, retain_graph=True)
    # What is missing in a series is no number that could be varied.
    found = torch.where(reading.vectors.isfinite(), gradient * reading.vectors, 0.0)
    return float(value.detach()), found.detach().sum(-1)[:, 0]

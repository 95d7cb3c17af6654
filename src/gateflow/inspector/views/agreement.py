"""The verb of a sentence of the grammar, when the number of its subject changes, or the distance to it."""

from __future__ import annotations

from random import Random

import torch
from pydantic import Field

from gateflow.data.agreement import LONGEST, Sentence, draw, with_other_number
from gateflow.errors import ConfigError
from gateflow.inspector.views.question import Answer, Question
from gateflow.tasks.inspection import Inspected

__all__ = ["Agreement", "AgreementQuestion", "Distances", "DistancesQuestion", "Form", "agreement", "distances"]
__all__ += ["reads_grammar"]

# Distances at which the curve has a point, and sentences of each, in both numbers.
POINTS = (1, 2, 4, 7, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60)
SENTENCES = 3


class AgreementQuestion(Question):
    """Does the verb agree?

    Attributes:
        seed: which sentence.
        distance: words from the subject to its verb.
        plural: the number of the subject; as it is drawn if left out.
    """

    run: int = Field(default=0, ge=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    distance: int = Field(default=10, ge=1, le=LONGEST)
    plural: bool | None = None


class Form(Answer):
    """What is said of the verb where the subject has one number.

    Attributes:
        share: ``P(right) / (P(right) + P(wrong))``.
    """

    text: str
    plural: bool
    right: str
    wrong: str
    p_right: float
    p_wrong: float
    share: float


class Agreement(Answer):
    """A sentence up to its verb, with the subject of the number asked for and of the other one."""

    subject: int
    verb: int
    attractors: int
    forms: list[Form]


class DistancesQuestion(Question):
    """How well does the verb agree, by distance?"""

    run: int = Field(default=0, ge=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**31)


class Distances(Answer):
    """``P(right) / (P(right) + P(wrong))`` at some distances, the mean over sentences of both numbers."""

    distances: list[int]
    share: list[float]


def reads_grammar(inspected: Inspected) -> bool:
    """Whether a model knows the words of the grammar."""
    if inspected.about != "next":
        return False
    # Words of one sentence stand for all: a vocabulary has all of the grammar or hardly any.
    sentence = draw(Random(0), 30)
    return all(inspected.number(word) is not None for word in (*sentence.tokens, sentence.wrong_verb))


def agreement(inspected: Inspected, question: AgreementQuestion) -> Agreement:
    """Both forms of the verb, for both numbers of the subject."""
    sentence = draw(Random(question.seed), question.distance)
    if question.plural is not None and sentence.plural != question.plural:
        sentence = with_other_number(sentence)
    forms = [_form(inspected, each) for each in (sentence, with_other_number(sentence))]
    first = len(inspected.read("").names) if _begins(inspected) else 0
    return Agreement(
        subject=first + sentence.subject, verb=first + sentence.verb, attractors=sentence.attractors, forms=forms
    )


def distances(inspected: Inspected, question: DistancesQuestion) -> Distances:
    """The curve, of sentences that are drawn for it."""
    shares = []
    for distance in POINTS:
        rng = Random(question.seed * 1000 + distance)
        sentences = [draw(rng, distance) for _ in range(SENTENCES)]
        forms = [_form(inspected, each) for s in sentences for each in (s, with_other_number(s))]
        shares.append(sum(form.share for form in forms) / len(forms))
    return Distances(distances=list(POINTS), share=shares)


def _form(inspected: Inspected, sentence: Sentence) -> Form:
    right, wrong = (inspected.number(word) for word in (sentence.right_verb, sentence.wrong_verb))
    if right is None or wrong is None:
        raise ConfigError(f"the model does not know {sentence.right_verb!r} or {sentence.wrong_verb!r}.")
    text = " ".join(sentence.prefix)
    with torch.no_grad():
        steps = inspected.read(text)
        last = inspected.hidden(steps, inspected.vectors(steps))[-1:]
        (output,) = inspected.outcomes
        log_p = inspected.log_probabilities(output, inspected.scores(last)[output])[0]
    return Form(
        text=text,
        plural=sentence.plural,
        right=sentence.right_verb,
        wrong=sentence.wrong_verb,
        p_right=float(log_p[right].exp()),
        p_wrong=float(log_p[wrong].exp()),
        # Of the logarithms: both probabilities may be too small for their type.
        share=float((log_p[right] - log_p[wrong]).sigmoid()),
    )


def _begins(inspected: Inspected) -> bool:
    """Whether a text is read behind the end of a line."""
    sentence = draw(Random(0), 1)
    return len(inspected.read(" ".join(sentence.prefix)).names) > len(sentence.prefix)

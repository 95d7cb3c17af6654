"""The verb ``classify``: what a classifier finds of new examples, as they come, and how much each step weighs in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateflow.tasks.classifier.inputs.base import Asked, Input
from gateflow.tasks.classifier.inputs.texts import TextEncoder
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.loading import input_of, load
from gateflow.tasks.classifier.prediction import Answer, predict, refuse_no_attention
from gateflow.tasks.classifier.targets import Labels
from gateflow.tasks.description import Given, Lines

__all__ = ["answer_as_data", "classify_examples"]

# Of a bar that shows a weight: a weight of 1 has so many signs.
WIDEST = 40


def classify_examples(given: Given, data: Path, text: str | None, weights: bool, batch_size: int) -> Lines:
    """What the classifier says of each line or row, of each series, or of each sound.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        ConfigError: weights are asked for, and the run has none.
        DataError: the data are missing, or are not what the run has learnt from.
    """
    learnt, config = load(given.run), given.run.config()
    if weights:
        refuse_no_attention(learnt.model)
    kind = input_of(config)
    known = learnt.targets.names if isinstance(learnt.targets, Labels) else ()
    asked = Asked(text, labelled=False, known=known, channels=learnt.encoder.channel_names)
    return Lines(_Classifier(learnt, kind, batch_size, weights).of_blocks(kind.stream(data, config, asked)))


@dataclass(frozen=True)
class _Classifier:
    """What a run has learnt, with the options of its predictions."""

    learnt: Learnt
    kind: Input[Any]
    batch_size: int
    weights: bool

    def of_blocks(self, blocks: Iterable[Sequence[Any]]) -> Iterator[tuple[str, Any]]:
        """For each example its labels with their probabilities, and the same as data."""
        for block in blocks:
            fitting = [self.learnt.encoder.fitting(example) for example in block]
            answers = predict(self.learnt, fitting, batch_size=self.batch_size, weights=self.weights)
            for example, found in zip(fitting, answers, strict=True):
                yield self._shown(example, found)

    def _shown(self, example: Any, answers: list[Answer]) -> tuple[str, Any]:
        called = self.kind.called(example)
        name = next(iter(called.values()))
        if self.learnt.targets.per_step:
            rows = (f"{name}\t{step}\t{self._given(answer)}" for step, answer in enumerate(answers, 1))
            return "\n".join(rows), {**called, "steps": [answer_as_data(self.learnt, answer) for answer in answers]}
        weighed = self._weighed(example, answers[0]) if self.weights else []
        found = {**called, **answer_as_data(self.learnt, answers[0])}
        found |= {self.kind.steps: weighed} if self.weights else {}
        return "\n".join([f"{name}\t{self._given(answers[0])}", *map(_bar, weighed)]), found

    def _given(self, answer: Answer) -> str:
        """Labels and probabilities, or the number; separated by tabs."""
        if answer.number is not None:
            return f"{answer.number:.6g}"
        assert isinstance(self.learnt.targets, Labels)
        numbers = self.learnt.targets.numbers
        return "\t".join(f"{name}\t{answer.probabilities[numbers[name]]:.3f}" for name in answer.labels)

    def _weighed(self, example: Any, answer: Answer) -> list[dict[str, Any]]:
        encoder = self.learnt.encoder
        if isinstance(encoder, TextEncoder):
            tokens = encoder.vocabulary.cut(example.text, encoder.longest)
            places = [{"text": token.text, "begin": token.begin, "end": token.end} for token in tokens]
        else:
            places = [{"text": name} for name in encoder.names(example)]
        return [{**place, "weight": weight} for place, weight in zip(places, answer.weights, strict=True)]


def answer_as_data(learnt: Learnt, answer: Answer) -> dict[str, Any]:
    """An answer as JSON has it."""
    if answer.number is not None:
        return {"number": answer.number}
    assert isinstance(learnt.targets, Labels)
    given = [learnt.targets.given(name) for name in answer.labels]
    found: dict[str, Any] = {"labels": given} if learnt.targets.multi_label else {"label": given[0]}
    return found | {"probabilities": dict(zip(learnt.targets.names, answer.probabilities, strict=True))}


def _bar(token: dict[str, Any]) -> str:
    return f"\t{token['weight']:.3f}\t{token['text']}\t{'█' * round(WIDEST * token['weight'])}".rstrip()

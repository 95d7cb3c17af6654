"""The verb ``classify``: the labels of new texts, as the lines come, and how much each word weighs in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateflow.data.labelled import read_labelled
from gateflow.data.lines import blocks_of_lines
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.loading import load_labels, load_model, load_vocabulary
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.prediction import CHUNK, Answer, batched, predict, refuse_no_attention
from gateflow.tasks.classifier.vocabulary import Vocabulary
from gateflow.tasks.description import Given, Lines

__all__ = ["classify_text"]

# Of a bar that shows a weight: a weight of 1 has so many signs.
WIDEST = 40


def classify_text(given: Given, data: Path, text: str | None, weights: bool, batch_size: int) -> Lines:
    """What the classifier says of each line, or of each row of a table.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        ConfigError: weights are asked for, and the run has none.
        DataError: the data are missing, or no text.
    """
    labels, vocabulary = load_labels(given.run), load_vocabulary(given.run)
    model = load_model(given.run, vocabulary, labels)
    if weights:
        refuse_no_attention(model)
    classifier = _Classifier(model, vocabulary, labels, given.run.config().data.longest, batch_size, weights)
    if text is None:
        return Lines(classifier.of_texts(blocks_of_lines(data, CHUNK)))
    rows = (row.text for row in read_labelled(data, text=text, labelled=False))
    return Lines(classifier.of_texts(batched(rows, CHUNK)))


@dataclass(frozen=True)
class _Classifier:
    """A model with the options of its predictions."""

    model: ClassifierModel
    vocabulary: Vocabulary
    labels: Labels
    longest: int
    batch_size: int
    weights: bool

    def of_texts(self, blocks: Iterable[Sequence[str]]) -> Iterator[tuple[str, Any]]:
        """For each text its labels with their probabilities, and the same as data."""
        number = 0
        for block in blocks:
            answers = predict(
                self.model,
                self.vocabulary,
                self.labels,
                block,
                longest=self.longest,
                batch_size=self.batch_size,
                weights=self.weights,
            )
            for text, answer in zip(block, answers, strict=True):
                number += 1
                weighed = self._weighed(text, answer) if self.weights else []
                shown = [f"{number}\t{self._given(answer)}", *map(_bar, weighed)]
                yield "\n".join(shown), {"line": number, "text": text, **self._as_data(answer, weighed)}

    def _given(self, answer: Answer) -> str:
        """Labels and probabilities, separated by tabs."""
        numbers = self.labels.numbers
        return "\t".join(f"{name}\t{answer.probabilities[numbers[name]]:.3f}" for name in answer.labels)

    def _weighed(self, text: str, answer: Answer) -> list[dict[str, Any]]:
        tokens = self.vocabulary.cut(text, self.longest)
        return [
            {"text": token.text, "begin": token.begin, "end": token.end, "weight": weight}
            for token, weight in zip(tokens, answer.weights, strict=True)
        ]

    def _as_data(self, answer: Answer, weighed: list[dict[str, Any]]) -> dict[str, Any]:
        given = [self.labels.given(name) for name in answer.labels]
        found: dict[str, Any] = {"labels": given} if self.labels.multi_label else {"label": given[0]}
        found["probabilities"] = dict(zip(self.labels.names, answer.probabilities, strict=True))
        return found | ({"words": weighed} if self.weights else {})


def _bar(token: dict[str, Any]) -> str:
    return f"\t{token['weight']:.3f}\t{token['text']}\t{'█' * round(WIDEST * token['weight'])}".rstrip()

"""A classifier at work: the one function by which texts get their labels, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gateflow.errors import ConfigError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.classifier.batches import EncodedTexts, TextBatch
from gateflow.tasks.classifier.labels import Labels
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.vocabulary import Vocabulary

__all__ = ["Answer", "batched", "decided", "predict", "refuse_no_attention"]

T = TypeVar("T")

# Texts that are read at once to be put into batches by their length; as many are held in memory.
CHUNK = 1024


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one text.

    Attributes:
        labels: one; or those that are given, where there may be several.
        probabilities: of all labels, in their order.
        weights: how much each token weighs in the decision, if that is asked for; they add up to 1.
    """

    labels: tuple[str, ...]
    probabilities: list[float]
    weights: list[float] = field(default_factory=list)


def predict(
    model: ClassifierModel,
    vocabulary: Vocabulary,
    labels: Labels,
    texts: Iterable[str],
    *,
    longest: int,
    batch_size: int = 64,
    weights: bool = False,
    chunk: int = CHUNK,
) -> Iterator[Answer]:
    """Yield an answer for each text, in order; a text has the same in any batch.

    Args:
        model, vocabulary, labels: of one run.
        texts: of any length; what is empty gets what is likeliest where nothing is known.
        longest: tokens that are read of each, as in training.
        batch_size: texts that are read side by side.
        weights: those of attention too.
        chunk: texts that are waited for before the first answer; batches are made of them by length.
    """
    for block in batched(texts, chunk):
        encoded = EncodedTexts(vocabulary, block, longest)
        order = sorted(range(len(block)), key=encoded.lengths.__getitem__)
        answers: dict[int, Answer] = {}
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            answers |= zip(rows, _batch(model, labels, encoded.batch(rows), weights), strict=True)
        yield from (answers[i] for i in range(len(block)))


def batched(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Lists of at most so many (Python 3.12 has it)."""
    remaining = iter(items)
    while block := list(islice(remaining, most)):
        yield block


def refuse_no_attention(model: ClassifierModel) -> None:
    """Refuse to ask for the weights of a model that has none.

    Raises:
        ConfigError: it reads out in another way.
    """
    if model.attention is None:
        raise ConfigError(
            "--weights asks how much each word weighs, and this classifier weighs none; train it with "
            "--read-out attention."
        )


def decided(model: ClassifierModel, scores: Tensor) -> Tensor:
    """What is answered, ``[B, K]`` truth values: the likeliest label, or all whose score is high enough.

    Args:
        model: has the thresholds.
        scores: ``[B, K]``.
    """
    if model.multi_label:
        return scores >= model.thresholds
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argmax(1, keepdim=True), True)


@torch.inference_mode()
def _batch(model: ClassifierModel, labels: Labels, batch: TextBatch, weights: bool) -> Iterator[Answer]:
    here = batch.to(model.head.weight.device)
    with evaluating(model):
        hidden = model.hidden(model.vectors(here), here.lengths)
        scores = model.read(hidden, here.lengths)
        probabilities = model.probabilities(scores).tolist()
        given = decided(model, scores).tolist()
        weighed = _weights(model, hidden, here.lengths) if weights else [[]] * len(given)
    for row, of_row, of_tokens in zip(given, probabilities, weighed, strict=True):
        yield Answer(
            tuple(name for name, is_given in zip(labels.names, row, strict=True) if is_given), of_row, of_tokens
        )


def _weights(model: ClassifierModel, hidden: Tensor, lengths: Tensor) -> Sequence[list[float]]:
    assert model.attention is not None, "asked for by `refuse_no_attention` before"
    found = model.attention.weights(hidden, lengths).T.tolist()
    return [row[:length] for row, length in zip(found, lengths.tolist(), strict=True)]

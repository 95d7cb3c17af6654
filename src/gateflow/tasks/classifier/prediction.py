"""A classifier at work: the one function by which examples get their labels or numbers, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gateflow.data.lines import blocks_of
from gateflow.errors import ConfigError
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.classifier.batches import Batch, Encoded
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.model import ClassifierModel
from gateflow.tasks.classifier.targets import Labels, Numbers, Targets

__all__ = ["CHUNK", "Answer", "decided", "predict", "refuse_no_attention"]

CHUNK = 1024
"""Examples that are read at once to be put into batches by their length; as many are held in memory."""


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one example, or of one step.

    Attributes:
        labels: one; or those that are given, where there may be several; none where a number is found.
        probabilities: of all labels, in their order.
        weights: how much each step weighs in the decision, if that is asked for; they add up to 1.
        number: what is found, where that is a number.
    """

    labels: tuple[str, ...]
    probabilities: list[float]
    weights: list[float] = field(default_factory=list)
    number: float | None = None


def predict(
    learnt: Learnt, examples: Iterable[Any], *, batch_size: int = 64, weights: bool = False, chunk: int = CHUNK
) -> Iterator[list[Answer]]:
    """Yield the answers for each example, in order: one, or one for each step that is read.

    An example has the same answers in any batch.

    Args:
        learnt: by a run.
        examples: of any length; what is empty gets what is likeliest where nothing is known.
        batch_size: examples that are read side by side.
        weights: those of attention too.
        chunk: examples that are waited for before the first answer; batches are made of them by length.
    """
    for block in blocks_of(examples, chunk):
        encoded = Encoded(learnt.encoder, block)
        order = sorted(range(len(block)), key=encoded.lengths.__getitem__)
        answers: dict[int, list[Answer]] = {}
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            answers |= zip(rows, _batch(learnt, encoded.batch(rows), weights), strict=True)
        yield from (answers[i] for i in range(len(block)))


def refuse_no_attention(model: ClassifierModel) -> None:
    """Refuse to ask for the weights of a model that has none.

    Raises:
        ConfigError: it reads out in another way.
    """
    if model.attention is None:
        raise ConfigError(
            "--weights asks how much each step weighs, and this classifier weighs none; train it with "
            "--read-out attention."
        )


def decided(model: ClassifierModel, scores: Tensor) -> Tensor:
    """What is answered, ``[N, K]`` truth values: the likeliest label, or all whose score is high enough.

    Args:
        model: has the thresholds.
        scores: ``[N, K]``.
    """
    if model.kind == "labels":
        return scores >= model.thresholds
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argmax(1, keepdim=True), True)


@torch.inference_mode()
def _batch(learnt: Learnt, batch: Batch, weights: bool) -> list[list[Answer]]:
    model = learnt.model
    here = batch.to(model.head.weight.device)
    with evaluating(model):
        hidden = model.hidden(model.vectors(here), here)
        scores = model.read(hidden, here.lengths)
        found = list(_answers(model, learnt.targets, scores, _weights(model, hidden, here.lengths) if weights else []))
    if not model.per_step:
        return [[answer] for answer in found]
    remaining = iter(found)
    return [[next(remaining) for _ in range(length)] for length in batch.lengths.tolist()]


def _answers(
    model: ClassifierModel, targets: Targets, scores: Tensor, weights: Sequence[list[float]]
) -> Iterator[Answer]:
    if isinstance(targets, Numbers):
        for i, output in enumerate(scores[:, 0].tolist()):
            yield Answer((), [], weights[i] if weights else [], targets.given(output))
        return
    assert isinstance(targets, Labels)
    probabilities, given = model.probabilities(scores).tolist(), decided(model, scores).tolist()
    for i, row in enumerate(given):
        names = tuple(name for name, is_given in zip(targets.names, row, strict=True) if is_given)
        yield Answer(names, probabilities[i], weights[i] if weights else [])


def _weights(model: ClassifierModel, hidden: Tensor, lengths: Tensor) -> Sequence[list[float]]:
    assert model.attention is not None, "asked for by `refuse_no_attention` before"
    found = model.attention.weights(hidden, lengths).T.tolist()
    return [row[:length] for row, length in zip(found, lengths.tolist(), strict=True)]

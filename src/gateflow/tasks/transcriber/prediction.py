"""A transcriber at work: the one function by which lines get their texts, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from gateflow.data.lines import blocks_of
from gateflow.data.series import Series
from gateflow.layers.evaluating import evaluating
from gateflow.tasks.transcriber.batches import Batch, Encoded
from gateflow.tasks.transcriber.decoding import Hypothesis, best_path
from gateflow.tasks.transcriber.learnt import Learnt

__all__ = ["CHUNK", "Answer", "Character", "predict"]

CHUNK = 256
"""Lines that are read at once to be put into batches by their length; as many are held in memory."""


@dataclass(frozen=True)
class Character:
    """One character of an answer.

    Attributes:
        text: the character.
        begin, end: where it is: seconds of a sound, columns of a picture's file, points of strokes.
        confidence: from 0 to 1.
    """

    text: str
    begin: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Answer:
    """What a transcriber reads in one line.

    Attributes:
        text: all of it.
        characters: one by one.
        score: the log-probability that was found for it, in nats.
    """

    text: str
    characters: tuple[Character, ...]
    score: float


def predict(learnt: Learnt, lines: Iterable[Series], *, batch_size: int = 16, chunk: int = CHUNK) -> Iterator[Answer]:
    """Yield the text of each line, in order: the same in any batch.

    Args:
        learnt: by a run.
        lines: as the run's kind of input reads them, of any length.
        batch_size: lines that are read side by side.
        chunk: lines that are waited for before the first answer; batches are made of them by length.
    """
    for block in blocks_of(lines, chunk):
        encoded = Encoded(learnt.encoder, block)
        order = sorted(range(len(block)), key=encoded.lengths.__getitem__)
        answers: dict[int, Answer] = {}
        for begin in range(0, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            found = _batch(learnt, encoded.batch(rows))
            answers |= {i: _answer(learnt, block[i], each) for i, each in zip(rows, found, strict=True)}
        yield from (answers[i] for i in range(len(block)))


@torch.inference_mode()
def _batch(learnt: Learnt, batch: Batch) -> list[Hypothesis]:
    model = learnt.model
    with evaluating(model):
        log_probs, lengths = model(batch.to(model.head.weight.device))
    return best_path(log_probs, lengths)


def _answer(learnt: Learnt, line: Series, found: Hypothesis) -> Answer:
    text = learnt.alphabet.text(found.tokens)
    reduce = -(-len(line) // learnt.model.lengths(torch.tensor(len(line))).item())
    characters = [
        Character(character, *_place(line, first * reduce, (last + 1) * reduce), confidence)
        for character, (first, last), confidence in zip(text, found.spans, found.confidences, strict=True)
    ]
    return Answer(text, tuple(characters), found.score)


def _place(line: Series, begin: int, end: int) -> tuple[float, float]:
    """Where steps begin and end, in the unit of the line's times."""
    times: Any = line.times
    return float(times[begin]), float(times[end] if end < len(times) else times[-1])

"""From scores to tags: the one place where it is decided what a tagger answers."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.data.spans import Span, mended
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.vocabulary import Column

__all__ = ["best_tags", "n_best_tags", "span_probabilities", "tag_probabilities"]

# Scores that are looked at together: 16 MB.
MOST_NUMBERS = 1 << 22


def best_tags(model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor) -> list[list[str]]:
    """The tags of each sentence: with a CRF the likeliest sequence, else the likeliest tag of each word.

    Without a CRF the tags of entities may not fit together; they are then mended as wrong data are.

    Args:
        model: has the CRF, if there is one.
        column: whose scores these are.
        scores: ``[T, B, K]``.
        lengths: ``[B]``.
    """
    crf = model.crf(column.name)
    numbers = scores.argmax(-1) if crf is None else crf.decode(scores, lengths)
    return [
        _spelled(column, row[:length], crf is None)
        for row, length in zip(numbers.T.tolist(), lengths.tolist(), strict=True)
    ]


def n_best_tags(
    model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor, n: int
) -> list[list[tuple[list[str], float]]]:
    """The likeliest sequences of each sentence with their probabilities, the best first; it takes a CRF."""
    crf = model.crf(column.name)
    assert crf is not None, "asked for by `refuse_no_crf` before"
    numbers, log_probabilities = crf.n_best(scores, lengths, n)
    found: list[list[tuple[list[str], float]]] = []
    for b, length in enumerate(lengths.tolist()):
        rows = zip(numbers[:, :length, b].tolist(), log_probabilities[:, b].tolist(), strict=True)
        found.append(
            [(_spelled(column, row, False), float(torch.tensor(p).exp())) for row, p in rows if p > -torch.inf]
        )
    return found


def tag_probabilities(model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor) -> Tensor:
    """``[T, B, K]``, the probability of each tag of each word: with a CRF its marginal over all sequences."""
    crf = model.crf(column.name)
    return scores.softmax(-1) if crf is None else crf.marginals(scores, lengths)


def span_probabilities(
    model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor, spans: list[tuple[int, Span]]
) -> list[float]:
    """The probability that there is an entity of just these words and this type, for each (row, span).

    With a CRF that is the sum over all sequences of tags in which it is; without one the product over its words, as
    the tags of words are independent then.
    """
    # Each span asks for a pass over its sentence: of a sentence of 20,000 words not all of its spans at once.
    at_once = max(1, MOST_NUMBERS // max(1, scores.shape[0] * scores.shape[2]))
    parts = (spans[begin : begin + at_once] for begin in range(0, len(spans), at_once))
    return [p for part in parts for p in _span_probabilities(model, column, scores, lengths, part)]


def _span_probabilities(
    model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor, spans: list[tuple[int, Span]]
) -> list[float]:
    rows = torch.tensor([row for row, _ in spans], device=scores.device)
    allowed = torch.ones(len(scores), len(spans), len(column.labels), dtype=torch.bool, device=scores.device)
    for i, (_, span) in enumerate(spans):
        for t in range(span.begin, span.end):
            allowed[t, i] = False
            allowed[t, i, column.numbers[_tag_within(span, t)]] = True
    crf, chosen = model.crf(column.name), scores[:, rows]
    if crf is None:
        of_words = chosen.softmax(-1).masked_fill(~allowed, 0).sum(-1)
        return of_words.prod(0).tolist()
    free = crf.log_partition(chosen, lengths[rows])
    return (crf.log_partition(chosen, lengths[rows], allowed=allowed) - free).exp().tolist()


def _tag_within(span: Span, t: int) -> str:
    """The tag of word `t` of a span, in BIOES: the end is said, so that nothing need be asked of the word after it."""
    if span.end - span.begin == 1:
        return f"S-{span.type}"
    return f"{'B' if t == span.begin else 'E' if t == span.end - 1 else 'I'}-{span.type}"


def _spelled(column: Column, numbers: list[int], free: bool) -> list[str]:
    tags = [column.labels[number] for number in numbers]
    return mended(tags, column.scheme)[0] if free and column.scheme is not None else tags

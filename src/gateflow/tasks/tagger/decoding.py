"""From scores to tags: the one place where it is decided what a tagger answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.spans import Span, mended
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.vocabulary import Column

__all__ = ["Certainty", "best_tags", "n_best_tags"]


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


@dataclass(frozen=True)
class Certainty:
    """How sure a tagger is of the tags that it has given to some sentences.

    Attributes:
        tags: ``[T, B]``, the probability of each tag: with a CRF its marginal over all sequences.
        following: ``[T, B]``, that of each tag given the one before it; without a CRF that is the same.
    """

    tags: Tensor
    following: Tensor

    @classmethod
    def of(
        cls, model: TaggerModel, column: Column, scores: Tensor, lengths: Tensor, tags: list[list[str]]
    ) -> Certainty:
        """That of `tags`, which `best_tags` has given."""
        rows = [torch.tensor([column.numbers[tag] for tag in row]) for row in tags]
        numbers = pad_sequence(rows).to(scores.device)
        crf = model.crf(column.name)
        probabilities = scores.softmax(-1) if crf is None else crf.marginals(scores, lengths)
        of_tags = probabilities.gather(2, numbers[..., None])[..., 0]
        return cls(of_tags, of_tags if crf is None else crf.conditionals(scores, numbers, lengths))

    def of_span(self, row: int, span: Span) -> float:
        """The probability that there is an entity of just these words and this type.

        Its tags say where it ends, so that nothing need be asked of the word after it. With a CRF that is the sum over
        all sequences of tags in which it is; without one, as the tags of words are independent then, a product.
        """
        return float(self.tags[span.begin, row] * self.following[span.begin + 1 : span.end, row].prod())


def _spelled(column: Column, numbers: list[int], free: bool) -> list[str]:
    tags = [column.labels[number] for number in numbers]
    return mended(tags, column.scheme)[0] if free and column.scheme is not None else tags

"""Subject-verb agreement: a network that reads sentences, is asked for the verb, and how far its gradient reaches.

A network reads a sentence word by word and predicts the next word. Its loss is that of the verb plus a share of that
of all words, so that its memory has other work than to hold one number. It agrees where it gives the right form of the
verb a higher score than the wrong one.

What was found on the way, with one to four seeds each: asked for the number alone, a tanh RNN learns every distance,
for short sentences teach it to hold one bit; with all words to predict it keeps to the near subjects. The share must be
small all the same: in a plain language model the verb's signal drowns, and no cell learns from far sentences within
minutes. With sentences of every distance torch's usual weights of an LSTM do as well as chrono ones, since the near
sentences teach its gates to open. Only far sentences (`DISTANCES["far"]`) show what the initial weights decide.

Sources: Linzen, Dupoux, Goldberg (2016), Assessing the ability of LSTMs to learn syntax-sensitive dependencies, TACL 4.
Marvin, Linzen (2018), Targeted syntactic evaluation of language models, EMNLP.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.data.agreement import Sentence, vocabulary
from gateflow.layers import Recurrent


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences as word numbers: ``tokens [T, B]``; ``[B]`` lengths, places of subject and verb, both forms of it."""

    tokens: Tensor
    length: Tensor
    subject: Tensor
    verb: Tensor
    right: Tensor
    wrong: Tensor

    def to(self, device: torch.device) -> SentenceBatch:
        """The same on a device."""
        return SentenceBatch(*(getattr(self, part.name).to(device) for part in fields(self)))


class AgreementModel(nn.Module):
    """Embedding, one recurrent layer, scores of the next word.

    Shape:
        * word numbers ``[T, B]`` to hidden states ``[T, B, H]``; ``scores`` takes ``[..., H]`` to ``[..., V]``.

    Example:
        >>> model = AgreementModel("gru")
        >>> model(torch.zeros(5, 2, dtype=torch.long)).shape
        torch.Size([5, 2, 64])
    """

    def __init__(self, cell: str, embedding_size: int = 64, hidden_size: int = 64):
        super().__init__()
        self.embedding = nn.Embedding(len(vocabulary()), embedding_size)
        self.layer = Recurrent(cell, embedding_size, hidden_size)
        self.scores = nn.Linear(hidden_size, len(vocabulary()))

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Read sentences from their start, each as far as it goes if lengths ``[B]`` say how far."""
        hidden, _ = self.layer(self.embedding(tokens), lengths=lengths)
        return hidden


def encode(sentences: Sequence[Sentence]) -> SentenceBatch:
    """Number the words; shorter sentences are filled up with full stops, which nothing reads.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> encode([draw(Random(0), distance=3), draw(Random(1), distance=5)]).verb.shape
        torch.Size([2])
    """
    number = _numbers()
    # All words of the grammar are known, so that no sentence has an unknown one.
    rows = [torch.tensor([number[word] for word in s.tokens]) for s in sentences]
    return SentenceBatch(
        tokens=nn.utils.rnn.pad_sequence(rows, padding_value=number["."]),
        length=torch.tensor([len(row) for row in rows]),
        subject=torch.tensor([s.subject for s in sentences]),
        verb=torch.tensor([s.verb for s in sentences]),
        right=torch.tensor([number[s.right_verb] for s in sentences]),
        wrong=torch.tensor([number[s.wrong_verb] for s in sentences]),
    )


def batches(sentences: Sequence[Sentence], size: int, seed: int) -> Iterator[SentenceBatch]:
    """Yield every sentence once, in batches of about one length, the batches in random order.

    Example:
        >>> from gateflow.data.agreement import split
        >>> sum(len(batch.verb) for batch in batches(split(70, 0, seed=0)[0], size=32, seed=0))
        70
    """
    # By length, so that hardly anything is padding: sentences have up to 70 words.
    ordered = sorted(sentences, key=lambda s: len(s.tokens))
    # Only the order of batches is random: who is in a batch follows from the lengths.
    starts = list(range(0, len(ordered), size))
    Random(seed).shuffle(starts)
    return (encode(ordered[start : start + size]) for start in starts)


def loss(model: AgreementModel, batch: SentenceBatch, word_share: float) -> Tensor:
    """Return the mean nats of the verb plus ``word_share`` times the mean nats of all words.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> loss(AgreementModel("lstm"), encode([draw(Random(0), distance=4)]), word_share=0.3).item() > 0
        True
    """
    # The last word predicts nothing.
    hidden = model(batch.tokens[:-1], batch.length - 1)
    # Padding is neither read nor predicted.
    real = torch.arange(len(hidden))[:, None] < batch.length - 1
    words = F.cross_entropy(model.scores(hidden[real]), batch.tokens[1:][real])
    return F.cross_entropy(model.scores(_at(hidden, batch.verb - 1)), batch.right) + word_share * words


def accuracy(
    model: AgreementModel, sentences: Sequence[Sentence], group: Callable[[Sentence], int]
) -> dict[int, float]:
    """Return for each group of sentences the share where the right verb scores higher than the wrong one.

    Example:
        >>> from gateflow.data.agreement import split
        >>> by_attractors = accuracy(AgreementModel("lstm"), split(0, 50, seed=0)[1], lambda s: s.attractors)
        >>> all(0 <= share <= 1 for share in by_attractors.values())
        True
    """
    return {key: float(agrees(model, encode(part)).double().mean()) for key, part in _grouped(sentences, group)}


@torch.no_grad()
def agrees(model: AgreementModel, batch: SentenceBatch) -> Tensor:
    """Return ``[B]``, whether the right verb scores higher than the wrong one.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> agrees(AgreementModel("lstm"), encode([draw(Random(0), distance=4)])).dtype
        torch.bool
    """
    scores = model.scores(_at(model(batch.tokens[: int(batch.verb.max())]), batch.verb - 1))
    return (scores.gather(1, batch.right[:, None]) > scores.gather(1, batch.wrong[:, None]))[:, 0]


def reach(model: AgreementModel, sentences: Sequence[Sentence], group: Callable[[Sentence], int]) -> dict[int, float]:
    """Return for each group how much of the verb's gradient arrives at the subject, as a geometric mean.

    ``‖∂E/∂s_subject‖ / ‖∂E/∂s_verb‖``, where ``E`` is the loss of the verb, ``s_k`` the whole state (``h``, and ``c``
    where the cell has one) after word ``k``, and ``s_verb`` the state that the verb is read from. In float64.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. Equations 3 to 5.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> next_word = [draw(Random(0), distance=1)]
        >>> reach(AgreementModel("lstm"), next_word, lambda s: s.distance)
        {1: 1.0}
    """
    # A trained tanh RNN has 2e-21 left over 41 to 60 words, whose square float32 cannot hold.
    exact = copy.deepcopy(model).double()
    ratios = {key: verb_gradient_ratio(exact, encode(part)) for key, part in _grouped(sentences, group)}
    # A gradient that has underflowed in float64 too counts as 1e-300: its logarithm is part of the mean.
    return {key: float(ratio.clamp_min(1e-300).log().mean().exp()) for key, ratio in ratios.items()}


def verb_gradient_ratio(model: AgreementModel, batch: SentenceBatch) -> Tensor:
    """Return ``[B]``, the ratio of `reach` for each sentence.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> verb_gradient_ratio(AgreementModel("gru"), encode([draw(Random(0), distance=9)])).shape
        torch.Size([1])
    """
    states: list[list[Tensor]] = []
    state = None
    for x in model.embedding(batch.tokens[: int(batch.verb.max())]):
        _, after = model.layer.step(x, state)
        states.append([part.clone() for part in after[0]])  # h is made from c: copies make them two variables
        state = [tuple(states[-1])]
    read = _at(torch.stack([parts[0] for parts in states]), batch.verb - 1)
    nats = F.cross_entropy(model.scores(read), batch.right, reduction="sum")
    flat = [part for parts in states for part in parts]
    # Nothing arrives where the words after the verb were read: zeros there.
    found = torch.autograd.grad(nats, flat, materialize_grads=True)
    squares = torch.stack([g.square().sum(dim=1) for g in found]).view(len(states), -1, len(batch.verb)).sum(dim=1)
    return (_at(squares, batch.subject) / _at(squares, batch.verb - 1)).sqrt()


def bucket(sentence: Sentence) -> int:
    """Return which of ``BUCKETS`` the distance lies in, from 0.

    Example:
        >>> from gateflow.data.agreement import draw
        >>> bucket(draw(Random(0), distance=12))
        2
    """
    return sentence.bucket


def _grouped(sentences: Sequence[Sentence], group: Callable[[Sentence], int]) -> list[tuple[int, list[Sentence]]]:
    groups: dict[int, list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        groups[group(sentence)].append(sentence)
    return sorted(groups.items())


def _at(values: Tensor, position: Tensor) -> Tensor:
    """Pick ``[B, ...]`` out of ``[T, B, ...]``, each sentence at its own position."""
    return values[position, torch.arange(len(position))]


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    return {word: i for i, word in enumerate(vocabulary())}

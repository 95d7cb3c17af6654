"""The linear tagger beside the recurrent one: a linear-chain CRF over features of a word and its neighbours.

It is what taggers were before networks learnt the features (Lafferty et al. 2001; the features are those of common CRF
toolkits): the word and two neighbours on each side in small letters, pairs of neighbours, beginnings and ends of up to
four letters, and the word's shape. A feature's weight is one number for each tag. Adagrad; the epoch that is best on
the validation part is kept. `benchmarks.tagger_peers` trains it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gateflow import LinearChainCRF
from gateflow.data.bucketing import LengthBuckets
from gateflow.data.tagged import TaggedSentence
from gateflow.tasks.tagger.measures import Measures
from gateflow.tasks.tagger.vocabulary import Column

AFFIXES, NEIGHBOURS = range(1, 5), (-2, -1, 1, 2)
BATCH, RATE = 32, 0.1


def features(words: Sequence[str]) -> Iterator[list[str]]:
    """Of each word, the names of all that holds for it."""
    small = ["<s>", "<s>", *(word.lower() for word in words), "</s>", "</s>"]
    for t, word in enumerate(words, 2):
        shape = re.sub(r"(.)\1+", r"\1+", "".join(map(_kind, word)))
        found = ["one", f"word {small[t]}", f"form {word}", f"shape {shape}"]
        found += [f"begins {small[t][:n]}" for n in AFFIXES] + [f"ends {small[t][-n:]}" for n in AFFIXES]
        found += [f"at {k} {small[t + k]}" for k in NEIGHBOURS] + [f"at {k} ends {small[t + k][-3:]}" for k in (-1, 1)]
        yield [*found, f"pair {small[t - 1]} {small[t]}", f"pair {small[t]} {small[t + 1]}"]


def _kind(character: str) -> str:
    return "A" if character.isupper() else "a" if character.islower() else "0" if character.isdigit() else character


class LinearTagger(nn.Module):
    """Scores of tags are sums of weights; a CRF chooses them together.

    Args:
        names: number of each feature that training has; 0 is none.
        column: its tags; where they mark entities, what the scheme forbids is impossible.
    """

    def __init__(self, names: dict[str, int], column: Column) -> None:
        super().__init__()
        self.names, self.column = names, column
        self.weights = nn.EmbeddingBag(len(names) + 1, len(column.labels), mode="sum", padding_idx=0, sparse=True)
        nn.init.zeros_(self.weights.weight)
        self.crf = LinearChainCRF(
            len(column.labels), **dict(zip(("begin", "inner", "end"), column.transitions(), strict=True))
        )

    def encoded(self, sentence: TaggedSentence) -> Tensor:
        """``[T, features]``; features that training has not seen count for nothing."""
        return torch.tensor([[self.names.get(name, 0) for name in of_word] for of_word in features(sentence.words)])

    def forward(self, rows: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
        """Scores ``[T, B, K]`` of some sentences, and their lengths."""
        lengths = [len(row) for row in rows]
        return pad_sequence(list(self.weights(torch.cat(list(rows))).split(lengths))), lengths


def train(parts: Mapping[str, Sequence[TaggedSentence]], column: Column, epochs: int, seed: int) -> LinearTagger:
    """The tagger of the best epoch."""
    torch.manual_seed(seed)
    torch.sparse.check_sparse_tensor_invariants.disable()  # Adagrad warns where nobody has decided
    seen = dict.fromkeys(name for s in parts["train"] for of_word in features(s.words) for name in of_word)
    model = LinearTagger({name: number for number, name in enumerate(seen, 1)}, column)
    rows = [model.encoded(sentence) for sentence in parts["train"]]
    tags = [torch.tensor([column.numbers[tag] for tag in s.tags[column.name]]) for s in parts["train"]]
    optimizer = torch.optim.Adagrad(model.parameters(), lr=RATE)
    buckets, best, kept = LengthBuckets([len(row) for row in rows], BATCH, seed), -1.0, model
    for epoch in range(epochs):
        for numbers in buckets.batches(epoch):
            scores, lengths = model([rows[i] for i in numbers])
            loss = -model.crf.log_likelihood(scores, pad_sequence([tags[i] for i in numbers]), lengths).sum()
            optimizer.zero_grad()
            (loss / sum(lengths)).backward()
            optimizer.step()
        if (reached := score(model, parts["valid"])) > best:
            best, kept = reached, copy.deepcopy(model)
    return kept


@torch.no_grad()
def score(model: LinearTagger, sentences: Sequence[TaggedSentence]) -> float:
    """F1 of the entities, or the share of right tags, in percent."""
    column, measures = model.column, Measures(model.column.scheme)
    for begin in range(0, len(sentences), 64):
        some = sentences[begin : begin + 64]
        scores, lengths = model([model.encoded(sentence) for sentence in some])
        for sentence, row, length in zip(some, model.crf.decode(scores, lengths).T.tolist(), lengths, strict=True):
            measures.add(sentence.tags[column.name], [column.labels[number] for number in row[:length]])
    return 100 * measures.micro().f1

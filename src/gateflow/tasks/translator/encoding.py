"""Pairs made into numbers once, so that a batch of them is put together fast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.parallel import ParallelText
from gateflow.tasks.translator.batches import IGNORED, TranslationBatch
from gateflow.tasks.translator.tokens import Vocabularies

__all__ = ["EncodedPairs", "feature_words", "source_tokens", "target_tokens_read"]


class EncodedPairs:
    """Pairs as numbers.

    Args:
        vocabularies: give the numbers.
        pairs: of several targets the first is learnt from; one without a target has an empty one.
        copying: whether source tokens may be copied, those in no vocabulary too.
    """

    def __init__(self, vocabularies: Vocabularies, pairs: Sequence[ParallelText], *, copying: bool = False) -> None:
        self.vocabularies, self.pairs, self.copying = vocabularies, pairs, copying
        self.sources, self.targets = self._sources(), self._targets()
        self.places, self.unknown = self._places() if copying else ([], [])
        self.labels = [self._label(i) for i in range(len(pairs))] if copying else self.targets

    @cached_property
    def lengths(self) -> list[tuple[int, int]]:
        """Tokens of each source and of each target, their ends included."""
        return [(len(source), len(target)) for source, target in zip(self.sources, self.targets, strict=True)]

    def batch(self, rows: Sequence[int]) -> TranslationBatch:
        """The pairs of these numbers side by side."""
        end = self.vocabularies.target.end
        sources, targets = [self.sources[i] for i in rows], [self.targets[i] for i in rows]
        begin = torch.tensor([end], dtype=torch.int32)
        source = pad_sequence(sources, padding_value=self.vocabularies.source.end).long()
        nothing = len(self.vocabularies.target)
        places = [self.places[i] for i in rows] if self.copying else [torch.zeros(0, dtype=torch.int64)]
        return TranslationBatch(
            source=source,
            source_lengths=torch.tensor([len(source) for source in sources]),
            inputs=pad_sequence([torch.cat([begin, target[:-1]]) for target in targets], padding_value=end).long(),
            labels=pad_sequence([self.labels[i] for i in rows], padding_value=IGNORED).long(),
            target_lengths=torch.tensor([len(target) for target in targets]),
            copies=pad_sequence(places, padding_value=nothing),
            extra=1 + max((len(self.unknown[i]) for i in rows), default=0) if self.copying else 0,
        )

    def _sources(self) -> list[Tensor]:
        source, features = self.vocabularies.source, self.vocabularies.features
        found = source.numbers([pair.source for pair in self.pairs])
        if features is not None:
            told = features.numbers([feature_words(pair.features) for pair in self.pairs])
            found = [[*numbers, *(len(source) + n for n in more)] for numbers, more in zip(found, told, strict=True)]
        # As 32 bits: a corpus of a hundred million tokens stays in memory.
        return [torch.tensor([*numbers, source.end], dtype=torch.int32) for numbers in found]

    def _targets(self) -> list[Tensor]:
        target = self.vocabularies.target
        found = target.numbers([pair.targets[0] if pair.targets else "" for pair in self.pairs])
        return [torch.tensor([*numbers, target.end], dtype=torch.int32) for numbers in found]

    def _places(self) -> tuple[list[Tensor], list[list[str]]]:
        """For each pair which target token each source token is, and its tokens that are in no vocabulary."""
        source, vocabulary = self.vocabularies.source, self.vocabularies.target
        # BPE as the target spells any word in pieces of its own: only a piece that it shares can be copied into it.
        of_pieces = vocabulary.kind == "bpe"
        known, nothing = vocabulary.tokenizer.get_vocab(), len(vocabulary)
        places, unknown = [], []
        for pair, numbers in zip(self.pairs, self.sources, strict=True):
            strange: dict[str, int] = {}
            found = torch.full((len(numbers),), nothing)
            for s, token in enumerate((source.tokens if of_pieces else source.copied)(pair.source)):
                number = known.get(token)
                # A token that is spelled like the end is none.
                if number is None or number == vocabulary.end:
                    copied = token and (source.kind == "bpe" or not of_pieces)
                    number = strange.setdefault(token, nothing + 1 + len(strange)) if copied else nothing
                found[s] = number
            places.append(found)
            unknown.append(list(strange))
        return places, unknown

    def _label(self, i: int) -> Tensor:
        """A target whose unknown tokens have the numbers that they have in its source."""
        target, pair = self.vocabularies.target, self.pairs[i]
        strange = {token: len(target) + 1 + k for k, token in enumerate(self.unknown[i])}
        if not strange or not pair.targets:
            return self.targets[i]
        tokens, found = target.tokens(pair.targets[0]), self.targets[i].clone()
        for t, token in enumerate(tokens):
            found[t] = strange.get(token, found[t])
        return found


def source_tokens(encoded: EncodedPairs, i: int) -> list[str]:
    """The tokens of a source as they were read, with its features and its end."""
    vocabularies, pair = encoded.vocabularies, encoded.pairs[i]
    features = vocabularies.features.tokens(feature_words(pair.features)) if vocabularies.features is not None else []
    return [*vocabularies.source.shown(vocabularies.source.tokens(pair.source)), *features, "<end>"]


def target_tokens_read(encoded: EncodedPairs, i: int) -> list[str]:
    """The tokens of a target as the decoder reads them: a beginning stands before them, and no end behind."""
    target, pair = encoded.vocabularies.target, encoded.pairs[i]
    return ["<start>", *target.shown(target.tokens(pair.targets[0] if pair.targets else ""))]


def feature_words(features: str) -> str:
    """UniMorph writes ``V;PST``, Universal Dependencies ``Number=Sing|Person=3``."""
    return features.replace(";", " ").replace("|", " ")

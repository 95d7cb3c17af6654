"""A tagger: words and their characters, recurrent layers over the sentence, and a score for each tag of each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.layers import Recurrent
from gateflow.layers.crf import LinearChainCRF
from gateflow.layers.dropout import LockedDropout
from gateflow.tasks.tagger.batches import IGNORED, UNKNOWN, TaggedBatch

__all__ = ["CharacterCNN", "CharacterLSTM", "TaggerModel"]

# Of a character's vector; a language has some dozens to thousands of characters, and they need not be told far apart.
CHARACTER_EMBEDDING = 32
# Characters that one convolution looks at: prefixes and suffixes of three, as Ma and Hovy have it.
CNN_WIDTH = 3


class CharacterLSTM(nn.Module):
    """The last hidden states of an LSTM that reads a word's characters forwards and of one that reads them backwards.

    Args:
        characters: number of characters.
        size: of the word's vector, half for each direction.

    Shape: numbers ``[L, U]`` and lengths ``[U]`` to ``[U, size]``.

    Source: Lample et al. (2016). Neural architectures for named entity recognition. NAACL. arXiv:1603.01360.

    Example:
        >>> CharacterLSTM(30, 10)(torch.ones(4, 3, dtype=torch.long), torch.tensor([4, 1, 2])).shape
        torch.Size([3, 10])
    """

    def __init__(self, characters: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(characters, CHARACTER_EMBEDDING)
        self.recurrent = Recurrent("lstm", CHARACTER_EMBEDDING, size // 2, bidirectional=True)

    def forward(self, spellings: Tensor, spelled: Tensor) -> Tensor:
        """One vector per word."""
        _, final = self.recurrent(self.embedding(spellings), lengths=spelled)
        return torch.cat([hidden for hidden, _ in final], dim=-1)


class CharacterCNN(nn.Module):
    """The largest value of each convolution of width 3 over a word's characters.

    Args:
        characters: number of characters.
        size: of the word's vector, the number of convolutions.

    Shape: numbers ``[L, U]`` and lengths ``[U]`` to ``[U, size]``.

    Source: Ma, Hovy (2016). End-to-end sequence labeling via bi-directional LSTM-CNNs-CRF. ACL. arXiv:1603.01354.

    Example:
        >>> CharacterCNN(30, 10)(torch.ones(4, 3, dtype=torch.long), torch.tensor([4, 1, 2])).shape
        torch.Size([3, 10])
    """

    def __init__(self, characters: int, size: int):
        super().__init__()
        self.embedding = nn.Embedding(characters, CHARACTER_EMBEDDING)
        self.convolution = nn.Conv1d(CHARACTER_EMBEDDING, size, CNN_WIDTH, padding=CNN_WIDTH // 2)

    def forward(self, spellings: Tensor, spelled: Tensor) -> Tensor:
        """One vector per word."""
        real = torch.arange(len(spellings), device=spellings.device)[:, None] < spelled
        # Zeros beyond the end, as before the beginning: else a word's vector would depend on the longest beside it.
        vectors = self.embedding(spellings) * real[..., None]
        found = self.convolution(vectors.permute(1, 2, 0))
        return found.masked_fill(~real.T[:, None], -torch.inf).amax(-1)


CHARACTER_READERS = {"lstm": CharacterLSTM, "cnn": CharacterCNN}


class TaggerModel(nn.Module):
    """Scores of tags for each word of a sentence, for one or more columns of tags.

    ``v_t = [word vector, vector of its characters]``, ``h = layers(v)``, ``scores_t = W h_t + b``. The loss of a column
    is the cross-entropy of its tags, or with a CRF the negative log-likelihood of the sentence's tags together.

    Args:
        words, characters: how many there are, the unknown one included.
        columns: for each column of tags how many there are.
        transitions: for each column with a CRF, what may begin, follow and end (see `LinearChainCRF`).
        embedding_size: components of a word's vector.
        character_reader: "lstm", "cnn", or none to leave the characters out.
        character_size: components that the characters give.
        hidden_size: units per layer and direction.
        num_layers: recurrent layers.
        bidirectional: whether sentences are read from their end too.
        dropout: share dropped of what the layers read, of what they hand on and of their output, with one mask for a
            sentence.
        word_dropout: share of words that training reads as unknown.
        recurrent: further options of `gateflow.Recurrent`.

    Example:
        >>> model = TaggerModel(100, 30, {"ner": 5}, hidden_size=8)
        >>> model.recurrent.output_size
        16
    """

    def __init__(
        self,
        words: int,
        characters: int,
        columns: Mapping[str, int],
        transitions: Mapping[str, Sequence[Any]] | None = None,
        *,
        cell: str | type[Cell] = "lstm",
        embedding_size: int = 100,
        character_reader: str | None = "lstm",
        character_size: int = 100,
        hidden_size: int = 256,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        self.word_dropout, self.dropout = word_dropout, LockedDropout(dropout)
        self.embedding = nn.Embedding(words, embedding_size)
        # As wide as what the characters give, whose values lie between -1 and 1.
        nn.init.uniform_(self.embedding.weight, -((3 / embedding_size) ** 0.5), (3 / embedding_size) ** 0.5)
        reader = CHARACTER_READERS[character_reader](characters, character_size) if character_reader else None
        self.characters = reader
        width = embedding_size + (character_size if reader else 0)
        options = {"bidirectional": bidirectional, "variational_dropout": dropout, **recurrent}
        self.recurrent = Recurrent(cell, width, hidden_size, num_layers=num_layers, **options)
        # By number and not by name: a file may call its columns what no module can be called.
        self.columns = list(columns)
        self.heads = nn.ModuleList([nn.Linear(self.recurrent.output_size, count) for count in columns.values()])
        self.crfs = nn.ModuleDict(
            {
                str(self.columns.index(name)): LinearChainCRF(columns[name], begin=begin, inner=inner, end=end)
                for name, (begin, inner, end) in (transitions or {}).items()
            }
        )

    def forward(self, batch: TaggedBatch) -> dict[str, Tensor]:
        """Scores ``[T, B, K]`` for each column."""
        return self.scores(self.vectors(batch), batch.lengths)

    def vectors(self, batch: TaggedBatch) -> Tensor:
        """What the layers read, ``[T, B, E]``."""
        words = batch.words
        if self.training and self.word_dropout:
            words = words.masked_fill(torch.rand(words.shape, device=words.device) < self.word_dropout, UNKNOWN)
        vectors = self.embedding(words)
        if self.characters is None:
            return vectors
        # Each different word of the batch is read once.
        read = batch.read
        if read is None:
            read = F.embedding(batch.spelling_of, self.characters(batch.spellings, batch.spelled))
        return torch.cat([vectors, read], dim=-1)

    def scores(self, vectors: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Scores ``[T, B, K]`` for each column, from what the layers read."""
        hidden = self.dropout(self.recurrent(self.dropout(vectors), lengths=lengths)[0])
        return {name: head(hidden) for name, head in zip(self.columns, self.heads, strict=True)}

    def crf(self, column: str) -> LinearChainCRF | None:
        """The CRF of a column, if it has one."""
        key = str(self.columns.index(column))
        # A ModuleDict has no `get`.
        return self.crfs[key] if key in self.crfs else None  # type: ignore[return-value]  # noqa: SIM401

    def losses(self, scores: Mapping[str, Tensor], batch: TaggedBatch) -> dict[str, Tensor]:
        """Summed nats of each column's tags."""
        return {name: self._loss(name, scores[name], tags, batch.lengths) for name, tags in batch.tags.items()}

    def _loss(self, name: str, scores: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        if (crf := self.crf(name)) is not None:
            return -crf.log_likelihood(scores, tags, lengths).sum()
        return F.cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="sum", ignore_index=IGNORED)

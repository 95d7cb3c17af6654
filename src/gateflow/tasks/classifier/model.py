"""A classifier of texts: tokens, recurrent layers over the text, one vector read out of them, and scores of labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.layers import Recurrent
from gateflow.layers.dropout import LockedDropout
from gateflow.tasks.classifier.batches import IGNORED, TextBatch
from gateflow.tasks.classifier.read_out import READ_OUTS, Attention
from gateflow.tasks.vectors import UNKNOWN

__all__ = ["ClassifierModel"]


class ClassifierModel(nn.Module):
    """Scores of labels for a text.

    ``v_t = vector of token t``, ``h = layers(v)``, ``y = read_out(h)``, ``scores = W y + b``. Probabilities are
    ``softmax(scores / T)``, or, where a text may have several labels, ``σ(scores / T)`` for each of them.

    Args:
        tokens: how many there are, the unknown one included.
        labels: how many there are.
        multi_label: whether a text may have several.
        cell: any recurrent cell, by name or class.
        embedding_size: components of a token's vector.
        hidden_size: units per layer and direction.
        num_layers: recurrent layers.
        bidirectional: whether texts are read from their end too.
        read_out: "last" valid step, "mean" or "max" over the steps, or "attention".
        dropout: share dropped of what the layers read, of what they hand on and of what is read out, with one mask for
            a text.
        word_dropout: share of tokens that training reads as unknown.
        recurrent: further options of `gateflow.Recurrent`.

    Attributes:
        temperature: T, a buffer of one number; 1 until it is fitted.
        thresholds: ``[K]``, a buffer: from which score on a label is given, where a text may have several.

    Example:
        >>> model = ClassifierModel(100, 3, hidden_size=8, read_out="attention")
        >>> batch = TextBatch(torch.randint(100, (7, 2)), torch.tensor([7, 4]))
        >>> model(batch).shape
        torch.Size([2, 3])
    """

    temperature: Tensor
    thresholds: Tensor

    def __init__(
        self,
        tokens: int,
        labels: int,
        *,
        multi_label: bool = False,
        cell: str | type[Cell] = "lstm",
        embedding_size: int = 100,
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        read_out: str = "max",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        self.multi_label, self.word_dropout = multi_label, word_dropout
        self.dropout = LockedDropout(dropout)
        self.embedding = nn.Embedding(tokens, embedding_size)
        # Each vector about as long as one of units between -1 and 1.
        nn.init.uniform_(self.embedding.weight, -((3 / embedding_size) ** 0.5), (3 / embedding_size) ** 0.5)
        options = {"bidirectional": bidirectional, "variational_dropout": dropout, **recurrent}
        self.recurrent = Recurrent(cell, embedding_size, hidden_size, num_layers=num_layers, **options)
        self.read_out = READ_OUTS[read_out](self.recurrent.output_size)
        self.head = nn.Linear(self.recurrent.output_size, labels)
        # Kept with the weights, so that one never goes without the other.
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("thresholds", torch.zeros(labels))

    def forward(self, batch: TextBatch) -> Tensor:
        """Scores ``[B, K]``."""
        return self.scores(self.vectors(batch), batch.lengths)

    def vectors(self, batch: TextBatch) -> Tensor:
        """What the layers read, ``[T, B, E]``."""
        tokens = batch.tokens
        if self.training and self.word_dropout:
            tokens = tokens.masked_fill(torch.rand(tokens.shape, device=tokens.device) < self.word_dropout, UNKNOWN)
        return self.embedding(tokens)

    def scores(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[B, K]``, from what the layers read."""
        return self.read(self.hidden(vectors, lengths), lengths)

    def hidden(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """The outputs of the last layer, ``[T, B, F]``, zero beyond a text's end."""
        return self.recurrent(self.dropout(vectors), lengths=lengths)[0]

    def read(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[B, K]``, from the outputs of the last layer."""
        vector = self.read_out(hidden, lengths, self.recurrent.bidirectional)
        return self.head(self.dropout(vector[None])[0])

    @property
    def attention(self) -> Attention | None:
        """What weighs the steps, if the read-out does."""
        return self.read_out if isinstance(self.read_out, Attention) else None

    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        """Summed nats of the labels of some texts; of several labels of a text the sum.

        Args:
            scores: ``[B, K]``.
            targets: as in `TextBatch`.
            weights: ``[K]``, what a mistake costs by label; of several labels what missing one costs.
            smoothing: share of the probability that is spread over all labels.

        Source: of smoothing, Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016). Rethinking the Inception architecture for
        computer vision. CVPR. arXiv:1512.00567.
        """
        if self.multi_label:
            smooth = targets * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(scores, smooth, pos_weight=weights, reduction="sum")
        return F.cross_entropy(
            scores, targets, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probability of each label, ``[B, K]``."""
        calibrated = scores / self.temperature
        return calibrated.sigmoid() if self.multi_label else calibrated.softmax(-1)

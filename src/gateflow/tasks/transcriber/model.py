"""A transcriber: convolutions, recurrent layers, and at each step a score of each character and of none."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.layers import Recurrent
from gateflow.tasks.transcriber.alphabet import BLANK
from gateflow.tasks.transcriber.batches import Batch
from gateflow.tasks.transcriber.front import ConvolutionFront

__all__ = ["TranscriberModel"]


class TranscriberModel(nn.Module):
    """The probability of each character at each step of a line.

    ``v = front(x)``, ``h = layers(v)``, ``p_t = softmax(W h_t + b)``; class 0 is the blank: nothing new is written.

    Args:
        width: numbers of a step.
        classes: how many there are, the blank among them.
        front: what shortens lines; without it the layers read each step as it is.
        cell: any recurrent cell, by name or class.
        hidden_size: units per layer and direction.
        num_layers: recurrent layers.
        bidirectional: whether lines are read from their end too.
        dropout: share dropped of what the front gives and of what the layers hand on, anew at each step.
        augment: varies what is read in training, ``augment(steps, lengths)``.
        recurrent: further options of `gateflow.Recurrent`.

    Example:
        >>> import torch
        >>> model = TranscriberModel(5, 3, hidden_size=8)
        >>> log_probs, lengths = model(Batch(torch.randn(7, 2, 5), torch.tensor([7, 4])))
        >>> log_probs.shape, lengths.tolist()
        (torch.Size([7, 2, 3]), [7, 4])
    """

    def __init__(
        self,
        width: int,
        classes: int,
        *,
        front: ConvolutionFront | None = None,
        cell: str | type[Cell] = "lstm",
        hidden_size: int = 192,
        num_layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.0,
        augment: nn.Module | None = None,
        **recurrent: Any,
    ) -> None:
        super().__init__()
        # Anew at each step: with one mask for a line CTC writes nothing but blanks for longer.
        self.front, self.augment, self.dropout = front, augment, nn.Dropout(dropout)
        options = {"bidirectional": bidirectional, "dropout": dropout, **recurrent}
        size = width if front is None else front.output_size
        self.recurrent = Recurrent(cell, size, hidden_size, num_layers=num_layers, **options)
        self.head = nn.Linear(self.recurrent.output_size, classes)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[T, B, classes]``, float32, and the lengths ``[B]`` of what the layers have read."""
        vectors, lengths = self.vectors(batch)
        return self.scores(vectors, lengths), lengths

    def vectors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the layers read, ``[T, B, F]``, and its lengths."""
        varied = self.training and self.augment is not None
        steps = self.augment(batch.steps, batch.lengths) if varied else batch.steps  # type: ignore[misc]  # not None
        found, lengths = (steps, batch.lengths) if self.front is None else self.front(steps, batch.lengths)
        return self.dropout(found), lengths

    def scores(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities, from what the layers read."""
        hidden = self.dropout(self.recurrent(vectors, lengths=lengths)[0])
        return self.head(hidden).float().log_softmax(-1)

    def lengths(self, lengths: Tensor) -> Tensor:
        """How many steps the layers read of lines of these lengths."""
        return lengths if self.front is None else self.front.lengths(lengths)

    def steps_of(self, first: int, last: int) -> tuple[int, int]:
        """Which steps of a line became these of the layers, the last included: from the first to before the second."""
        return (first, last + 1) if self.front is None else self.front.steps_of(first, last)

    def losses(self, log_probs: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """The sum over lines of the negative log-probability of their texts, in nats.

        Source: Graves, Fernández, Gomez, Schmidhuber (2006). Connectionist temporal classification. ICML.
        """
        assert batch.targets is not None, "texts are what is learnt"
        assert batch.target_lengths is not None
        return F.ctc_loss(
            log_probs, batch.targets, lengths, batch.target_lengths, blank=BLANK, reduction="sum", zero_infinity=False
        )

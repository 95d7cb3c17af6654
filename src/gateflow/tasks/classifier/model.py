"""A classifier: what the layers read, the layers, one vector read out of them or one a step, and scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell
from gateflow.layers import Recurrent, Transformer
from gateflow.layers.dropout import LockedDropout
from gateflow.tasks.classifier.batches import Batch
from gateflow.tasks.classifier.read_out import READ_OUTS, Attention, beyond
from gateflow.tasks.classifier.targets import IGNORED, Kind, known
from gateflow.tasks.sequence_layers import SequenceLayers, sequence_layers
from gateflow.tasks.vectors import UNKNOWN

__all__ = ["ClassifierModel", "TextModel"]


class ClassifierModel(nn.Module):
    """Scores of labels for a sequence of values, or for each of its steps.

    ``h = layers(x)``, ``y = read_out(h)``, ``scores = W y + b``; of labels per step ``scores_t = W h_t + b``.
    Probabilities are ``softmax(scores / T)``, or, where there may be several labels, ``σ(scores / T)`` for each.
    Where a number is to be found, the score is that number, in deviations from the mean.

    Args:
        input_size: numbers that the layers read of a step.
        outputs: how many labels there are, or 1.
        kind: one "label", several "labels", or a "number".
        per_step: whether each step has scores of its own.
        cell: any recurrent cell, by name or class.
        hidden_size: units per layer and direction.
        model: "recurrent", or "transformer", whose steps see the whole sequence.
        num_layers: layers on top of each other.
        bidirectional: whether recurrent layers read sequences from their end too.
        read_out: "last" valid step, "mean" or "max" over the steps, or "attention".
        dropout: share dropped of what the layers hand on and of what is read out, with one mask for a sequence.
        augment: varies what is read in training, ``augment(steps, lengths)``.
        input_scale: what a Transformer multiplies its inputs by.
        layers: further options of `gateflow.Recurrent`, or of `gateflow.layers.Transformer`.

    Attributes:
        temperature: T, a buffer of one number; 1 until it is fitted.
        thresholds: ``[K]``, a buffer: from which score on a label is given, where there may be several.

    Example:
        >>> model = ClassifierModel(5, 3, hidden_size=8, read_out="attention")
        >>> batch = Batch(torch.randn(7, 2, 5), torch.tensor([7, 4]))
        >>> model(batch).shape, ClassifierModel(5, 3, hidden_size=8, per_step=True)(batch).shape
        (torch.Size([2, 3]), torch.Size([11, 3]))
    """

    temperature: Tensor
    thresholds: Tensor
    recurrent: Recurrent
    transformer: Transformer

    def __init__(
        self,
        input_size: int,
        outputs: int,
        *,
        kind: Kind = "label",
        per_step: bool = False,
        cell: str | type[Cell] = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        read_out: str = "max",
        dropout: float = 0.0,
        augment: nn.Module | None = None,
        model: str = "recurrent",
        input_scale: float = 1.0,
        **layers: Any,
    ) -> None:
        super().__init__()
        self.kind, self.per_step, self.augment = kind, per_step, augment
        self.dropout = LockedDropout(dropout)
        if model != "transformer":
            layers |= {"cell": cell, "bidirectional": bidirectional}
        same: dict[str, Any] = {"num_layers": num_layers, "dropout": dropout, "input_scale": input_scale}
        found = sequence_layers(model, input_size, hidden_size, causal=False, **same, **layers)
        # Named after what it is: weights of a run have this name.
        self.kind_of_layers = model
        self.add_module(model, found)
        self.read_out = None if per_step else READ_OUTS[read_out](found.output_size)
        self.head = nn.Linear(found.output_size, outputs)
        # Kept with the weights, so that one never goes without the other.
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("thresholds", torch.zeros(outputs))

    @property
    def layers(self) -> SequenceLayers:
        """Recurrent layers, or a Transformer."""
        return getattr(self, self.kind_of_layers)

    def forward(self, batch: Batch) -> Tensor:
        """Scores ``[N, K]``: of each sequence, or of each step, one sequence after the other."""
        return self.scores(self.vectors(batch), batch)

    def vectors(self, batch: Batch) -> Tensor:
        """What the layers read, ``[T, B, I]``."""
        varied = self.training and self.augment is not None
        return self.augment(batch.steps, batch.lengths) if varied else batch.steps  # type: ignore[misc]  # not None

    def scores(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores ``[N, K]``, from what the layers read."""
        return self.read(self.hidden(vectors, batch), batch.lengths)

    def hidden(self, vectors: Tensor, batch: Batch) -> Tensor:
        """The outputs of the last layer, ``[T, B, F]``, zero beyond a sequence's end."""
        elapsed = {} if batch.elapsed is None else {"dt": batch.elapsed}
        return self.layers(vectors, lengths=batch.lengths, **elapsed)[0]

    def read(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[N, K]``, from the outputs of the last layer."""
        if self.read_out is None:
            there = ~beyond(hidden, lengths)[..., 0].T
            return self.head(self.dropout(hidden).transpose(0, 1)[there])
        vector = self.read_out(hidden, lengths, getattr(self.layers, "bidirectional", False))
        return self.head(self.dropout(vector[None])[0])

    @property
    def attention(self) -> Attention | None:
        """What weighs the steps, if the read-out does."""
        return self.read_out if isinstance(self.read_out, Attention) else None

    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        """The sum over what is to be found: nats of a label, or of several; half the squared error of a number.

        Args:
            scores: ``[N, K]``.
            targets: as in `Batch`; what is not known counts for nothing.
            weights: ``[K]``, what a mistake costs by label; of several labels what missing one costs.
            smoothing: share of the probability that is spread over all labels.

        Source: of smoothing, Szegedy, Vanhoucke, Ioffe, Shlens, Wojna (2016). Rethinking the Inception architecture for
        computer vision. CVPR. arXiv:1512.00567.
        """
        if self.kind == "number":
            # In place of NaN and not afterwards: NaN times zero is NaN, in the gradient too.
            wanted = torch.where(known(targets), targets, scores[:, 0].detach())
            return (scores[:, 0] - wanted).square().sum() / 2
        if self.kind == "labels":
            smooth = targets * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(scores, smooth, pos_weight=weights, reduction="sum")
        return F.cross_entropy(
            scores, targets, weights, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
        )

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probability of each label, ``[N, K]``."""
        calibrated = scores / self.temperature
        return calibrated.sigmoid() if self.kind == "labels" else calibrated.softmax(-1)


class TextModel(ClassifierModel):
    """The same over tokens: ``v_t = vector of token t``, ``h = layers(v)``.

    Args:
        tokens: how many there are, the unknown one included.
        outputs: how many labels there are, or 1.
        embedding_size: components of a token's vector.
        word_dropout: share of tokens that training reads as unknown.
        options: as for `ClassifierModel`; dropout drops of the vectors too.

    Example:
        >>> model = TextModel(100, 3, hidden_size=8)
        >>> model(Batch(torch.randint(100, (7, 2)), torch.tensor([7, 4]))).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, tokens: int, outputs: int, *, embedding_size: int = 100, word_dropout: float = 0.0, **options: Any
    ) -> None:
        super().__init__(embedding_size, outputs, input_scale=embedding_size**0.5, **options)
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(tokens, embedding_size)
        # Each vector about as long as one of units between -1 and 1; a Transformer is given components of deviation 1.
        nn.init.uniform_(self.embedding.weight, -((3 / embedding_size) ** 0.5), (3 / embedding_size) ** 0.5)

    def vectors(self, batch: Batch) -> Tensor:
        """What the layers read, ``[T, B, E]``."""
        tokens = batch.steps
        if self.training and self.word_dropout:
            tokens = tokens.masked_fill(torch.rand(tokens.shape, device=tokens.device) < self.word_dropout, UNKNOWN)
        return self.dropout(self.embedding(tokens))

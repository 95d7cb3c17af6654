"""The Transformer's encoder and decoder of a translator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from gateflow.layers import Attended, Transformer
from gateflow.layers.transformer_layer import Cache
from gateflow.tasks.translator.coding import Decoded, Encoded

__all__ = ["TransformerDecoder", "TransformerEncoder", "TransformerState"]


@dataclass(frozen=True)
class TransformerState:
    """Where a decoder is in its target.

    Attributes:
        caches: of the steps so far, one for each layer.
        memory: the source as each layer looks at it.
    """

    caches: list[Cache]
    memory: list[Attended]

    def select(self, rows: Tensor) -> Self:
        """The states of these rows, in their order; a row may come several times."""
        caches = [(keys[rows], values[rows]) for keys, values in self.caches]
        return type(self)(caches, [each.select(rows) for each in self.memory])


class TransformerEncoder(nn.Module):
    """Layers in which each step of the source sees all others.

    Args:
        embedding_size: of what is read.
        hidden_size, num_layers, heads, dropout: as of `gateflow.layers.Transformer`.
    """

    def __init__(
        self, *, embedding_size: int, hidden_size: int = 256, num_layers: int = 1, heads: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.transformer = _layers(embedding_size, hidden_size, num_layers, heads, dropout, causal=False)
        self.output_size = hidden_size

    def forward(self, vectors: Tensor, lengths: Tensor) -> Encoded:
        """Reads vectors ``[S, B, E]``."""
        return Encoded(self.transformer(vectors, lengths=lengths)[0], lengths)


class TransformerDecoder(nn.Module):
    """Layers in which each step of the target sees those before it, and all of the source.

    Args:
        encoder: whose memory is looked at.
        embedding_size, hidden_size, num_layers, heads, dropout: as of `TransformerEncoder`.
        output_size: of what scores are computed from; `hidden_size` if left out.
    """

    attends = True

    def __init__(
        self,
        encoder: TransformerEncoder,
        *,
        embedding_size: int,
        hidden_size: int = 256,
        num_layers: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        output_size: int | None = None,
    ) -> None:
        super().__init__()
        self.transformer = _layers(
            embedding_size, hidden_size, num_layers, heads, dropout, causal=True, memory_size=encoder.output_size
        )
        self.output_size, self.feature_size = output_size or hidden_size, hidden_size
        self.output = nn.Identity() if self.output_size == hidden_size else nn.Linear(hidden_size, self.output_size)
        self.dropout = nn.Dropout(dropout)

    def start(self, memory: Encoded) -> TransformerState:
        """The state before the first step."""
        caches = self.transformer.initial_state(memory.memory)
        return TransformerState(caches, self.transformer.attended(memory.memory, memory.lengths))

    def forward(self, vectors: Tensor, state: TransformerState, lengths: Tensor | None = None) -> Decoded:
        """Goes on from `state` over vectors ``[T, B, E]``; what lies beyond a target's end is seen by no step of it."""
        hidden, weights, caches = self.transformer.decode(vectors, state.memory, state.caches)
        outputs = self.dropout(self.output(hidden))
        return Decoded(vectors, outputs, hidden, weights, TransformerState(caches, state.memory))


def _layers(
    embedding_size: int, hidden_size: int, num_layers: int, heads: int, dropout: float, **options: Any
) -> Transformer:
    # Vectors of tokens are of length 1, since they are weights of the scores where they are tied.
    return Transformer(
        embedding_size,
        hidden_size,
        num_layers=num_layers,
        heads=heads,
        dropout=dropout,
        input_scale=embedding_size**0.5,
        **options,
    )

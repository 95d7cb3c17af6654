"""What a translator asks of its encoder and its decoder, whichever they are.

An encoder makes `Encoded` of vectors and lengths and says its `output_size`; a decoder has `start(memory)`, whose state
holds all that it needs of the source, a call over any number of steps that goes on from a state, an `output_size` and a
`feature_size`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor

__all__ = ["Decoded", "DecoderState", "Encoded", "Said"]

States = tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True)
class Encoded:
    """What an encoder has read.

    Attributes:
        memory: ``[S, B, M]``, each step of the source.
        lengths: ``[B]``.
        final: for each layer and direction, layer by layer, its state after its last step, a tuple of ``[B, size]``;
            nothing of a Transformer, whose steps are not carried through others.
    """

    memory: Tensor
    lengths: Tensor
    final: States = ()


class DecoderState(Protocol):
    """Where a decoder is in its target."""

    def select(self, rows: Tensor) -> Self:
        """The states of these rows, in their order; a row may come several times."""
        ...


@dataclass(frozen=True)
class Decoded:
    """What a decoder makes of some steps.

    Attributes:
        inputs: ``[T, B, E]``, the vectors that it was given.
        outputs: ``[T, B, output_size]``, which scores are computed from.
        features: ``[T, B, feature_size]``: hidden states, and what attention has found.
        weights: ``[T, B, S]`` of the attention; none without one.
        state: after the last step.
    """

    inputs: Tensor
    outputs: Tensor
    features: Tensor
    weights: Any
    state: Any


@dataclass(frozen=True)
class Said:
    """What a translator says at one step.

    Attributes:
        logs: ``[B, V + extra]``, the log-probability of each token.
        state: of the decoder after it.
        weights: ``[B, S]`` of the attention; none without one.
    """

    logs: Tensor
    state: Any
    weights: Tensor | None

"""What a decoder must be, so that a search can ask it for many hypotheses at once."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

__all__ = ["Decoder"]


class Decoder(Protocol):
    """Says how probable each token is after those before it, for many rows at once.

    A state is a tensor whose first dimension is the rows, a tuple, list or dict of such, None, or an object of your
    own with a method `select(index)` (`gateflow.decoding.states`). What a row needs of its source, such as the
    encoder's outputs, belongs to the state.

    Example:
        >>> import torch
        >>> class Bigram:
        ...     def __init__(self, table):  # log probabilities [V, V] of a token after another
        ...         self.table = table
        ...
        ...     def step(self, state, tokens):
        ...         return self.table[tokens], state
        >>> decoder: Decoder = Bigram(torch.randn(5, 5).log_softmax(1))
    """

    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any] | tuple[Tensor, Any, Tensor]:
        """Read a token per row, `[R]`.

        Returns:
            Log probabilities of the token that follows, `[R, V]`, and the new state; and, if it attends to a source,
            the attention of each row, `[R, S]`, which sums to 1.
        """
        ...

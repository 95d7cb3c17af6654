"""What a language model must be, so that a search can ask it for many prefixes at once."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

__all__ = ["LanguageModel"]


class LanguageModel(Protocol):
    """Says how probable each symbol is after those before it, for many prefixes at once.

    Its classes are those of the network that is decoded. The column of the blank holds the log probability that the
    text ends here. Where a model knows nothing of single symbols, as one of words within a word, it says 0.

    A state is a tensor whose first dimension is the rows, or a tuple, list or dict of such, so that a search can take
    rows of it in any order (`gateflow.decoding.states`).

    Example:
        >>> import torch
        >>> class Bigram:
        ...     def __init__(self, table):  # log probabilities [C, C]; row 0 is the beginning, column 0 the end
        ...         self.table = table
        ...
        ...     def start(self, rows):
        ...         return self.table[0].expand(rows, -1), None
        ...
        ...     def advance(self, state, tokens):
        ...         return self.table[tokens], None
        >>> model: LanguageModel = Bigram(torch.randn(5, 5).log_softmax(1))
    """

    def start(self, rows: int) -> tuple[Tensor, Any]:
        """Log probabilities of the first symbol, `[rows, C]`, and the state of that many empty prefixes."""
        ...

    def advance(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        """Read a symbol per row, `[R]`: log probabilities of the one that follows, `[R, C]`, and the new state."""
        ...

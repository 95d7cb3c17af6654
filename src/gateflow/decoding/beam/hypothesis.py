"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Hypothesis"]


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that a decoder may say.

    Attributes:
        tokens: what it says, without the end.
        score: by which hypotheses are ranked.
        log_probability: the logarithm of its probability, the end's included.
        log_probs: that of each token, and of the end as the last: `len(tokens) + 1` numbers.
        attention: what each step attends to, `[len(tokens) + 1, S]`; none if the decoder does not say.
        cut: it had to end, for it was as long as is allowed, and another token was more probable than the end.
    """

    tokens: list[int]
    score: float
    log_probability: float = field(repr=False)
    log_probs: list[float] = field(repr=False)
    attention: Tensor | None = field(repr=False, default=None, compare=False)
    cut: bool = False

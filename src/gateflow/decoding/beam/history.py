"""What was said at each step, and after what: a hypothesis is told when it is asked for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.beam.hypothesis import Hypothesis

__all__ = ["Ending", "History"]


class Ending(NamedTuple):
    """Where a hypothesis ends: after the token that is row `row` of step `step`.

    Attributes:
        score: by which it is ranked.
        log_probability: of the whole.
        last: log probability of the end.
        cut: whether another token was more probable than it, and none was allowed.
    """

    score: float
    log_probability: float
    last: float
    step: int
    row: int
    cut: bool


class _Said(NamedTuple):
    """The rows of a step, `[R]`: their tokens, the rows before them, and the tokens' log probabilities."""

    tokens: np.ndarray
    parents: np.ndarray
    log_probs: np.ndarray


class History:
    """All rows of all steps."""

    def __init__(self) -> None:
        self._steps: list[_Said] = []
        self._attention: list[Tensor] = []

    def say(self, tokens: np.ndarray, parents: np.ndarray, log_probs: np.ndarray) -> None:
        """The tokens of a step are read."""
        self._steps.append(_Said(tokens, parents, log_probs))

    def attend(self, attention: Tensor) -> None:
        """The rows of the last step attend to the source, `[R, S]`."""
        self._attention.append(attention)

    def hypothesis(self, ending: Ending) -> Hypothesis:
        """The one that ends there."""
        tokens, log_probs, rows, row = [], [ending.last], [ending.row], ending.row
        for step in range(ending.step, 0, -1):
            said = self._steps[step]
            tokens.append(int(said.tokens[row]))
            log_probs.append(float(said.log_probs[row]))
            row = int(said.parents[row])
            rows.append(row)
        attention = None
        if self._attention:
            attention = torch.stack([self._attention[t][r] for t, r in enumerate(reversed(rows))]).cpu()
        return Hypothesis(tokens[::-1], ending.score, ending.log_probability, log_probs[::-1], attention, ending.cut)

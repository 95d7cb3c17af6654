"""How long, how wide, and by which score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gateflow.decoding.ranking import WIDEST
from gateflow.errors import ConfigError, ShapeError

__all__ = ["Options", "checked_longest"]

# A source that nothing attends to would have the logarithm of 0.
_LEAST_COVERAGE = 1e-10

# Useful ones are about 1. The longest text that may be asked for, to the power of this, is still a number of float64.
_MOST_PENALTY, _LONGEST = 50.0, 1 << 22


@dataclass(frozen=True)
class Options:
    """Of a search; see `beam_search`."""

    start: int
    end: int
    beam: int
    nbest: int
    length_penalty: float
    coverage_penalty: float
    min_length: int
    keep_greedy: bool

    def __post_init__(self) -> None:
        for name, least in (("start", 0), ("end", 0), ("beam", 1), ("nbest", 1), ("min_length", 0)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ConfigError(f"{name} must be a whole number of at least {least}, not {number!r}.")
        if self.beam > WIDEST:
            raise ConfigError(f"beam must be at most {WIDEST:,}, not {self.beam:,}.")
        for name in ("length_penalty", "coverage_penalty"):
            if not 0 <= getattr(self, name) <= _MOST_PENALTY:
                raise ConfigError(f"{name} must be a number from 0 to {_MOST_PENALTY:g}, not {getattr(self, name)}.")
        if self.nbest > self.beam:
            raise ConfigError(f"nbest={self.nbest} hypotheses cannot come out of beam={self.beam}; widen the beam.")

    def divisor(self, length: int) -> float:
        """What the log probability of so many tokens, the end among them, is divided by."""
        return ((5.0 + length) / 6.0) ** self.length_penalty

    def coverage(self, attended: np.ndarray) -> float:
        """What is added for what has been attended to, `[S]`: 0 at most."""
        return self.coverage_penalty * float(np.log(attended.clip(_LEAST_COVERAGE, 1.0)).sum())


def checked_longest(max_length: int | Sequence[int] | Tensor, rows: int, min_length: int) -> list[int]:
    """The most tokens of each line.

    Raises:
        ShapeError: not one number, or one for each line.
        ConfigError: one is smaller than `min_length`, or so large that no score can be computed.
    """
    found = max_length.tolist() if isinstance(max_length, Tensor) else max_length
    numbers = [found] * rows if isinstance(found, int) else list(found)
    if len(numbers) != rows or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise ShapeError(f"max_length must be one whole number, or one for each of {rows} lines; found {max_length!r}")
    if numbers and min(numbers) < min_length:
        raise ConfigError(f"max_length must be at least min_length={min_length}, found {min(numbers)}.")
    if numbers and max(numbers) > _LONGEST:
        raise ConfigError(f"max_length must be at most {_LONGEST:,}, found {max(numbers):,}.")
    return numbers

"""From a path, a class for each frame, to symbols with their places and how sure the network is of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Alignment", "Hypothesis", "Spelled", "spelled"]


@dataclass(frozen=True)
class Alignment:
    """Where the symbols of a text lie on its best path.

    Attributes:
        tokens: the classes of the text's symbols, without blanks.
        score: log probability of the path.
        spans: for each symbol its first and its last frame, both included.
        confidences: for each symbol the greatest probability that the network gives it within its span.
    """

    tokens: list[int]
    score: float
    spans: list[tuple[int, int]] = field(repr=False)
    confidences: list[float] = field(repr=False)


@dataclass(frozen=True)
class Hypothesis:
    """A text that may have been said or written.

    Attributes:
        tokens: the classes of its symbols, without blanks.
        score: by which hypotheses are ranked: `log_probability`, with what a language model and an insertion bonus
            add.
        log_probability: of the path for `best_path`; of the text, so of all paths that were looked at, for
            `prefix_beam_search`.
        spans: for each symbol its first and its last frame on the best path of the text, both included.
        confidences: for each symbol the greatest probability that the network gives it within its span.
    """

    tokens: list[int]
    score: float
    log_probability: float = field(repr=False)
    spans: list[tuple[int, int]] = field(repr=False)
    confidences: list[float] = field(repr=False)

    @property
    def confidence(self) -> float:
        """Probability of the whole, `exp(log_probability)`: of the path for `best_path`, else of the text."""
        return min(1.0, float(np.exp(self.log_probability)))


@dataclass(frozen=True)
class Spelled:
    """What a path spells; as in `Alignment`."""

    tokens: list[int]
    spans: list[tuple[int, int]]
    confidences: list[float]


def spelled(path: np.ndarray, log_probs: np.ndarray, blank: int) -> Spelled:
    """What a path `[T]` spells, whose classes have these log probabilities, `[T]`.

    Example:
        >>> found = spelled(np.array([0, 3, 3, 0, 3, 5]), np.log([0.9, 0.5, 0.7, 0.9, 0.6, 0.8]), blank=0)
        >>> found.tokens, found.spans, np.round(found.confidences, 4).tolist()
        ([3, 3, 5], [(1, 2), (4, 4), (5, 5)], [0.7, 0.6, 0.8])
    """
    named, edge = path != blank, np.array([True])
    changes = path[1:] != path[:-1]
    first = np.flatnonzero(named & np.concatenate([edge, changes]))
    if not len(first):
        return Spelled([], [], [])
    last = np.flatnonzero(named & np.concatenate([changes, edge]))
    # Blanks between two symbols fall to the one before, so they must not count.
    greatest = np.maximum.reduceat(np.where(named, log_probs, -np.inf), first)
    spans = list(zip(first.tolist(), last.tolist(), strict=True))
    return Spelled(path[first].tolist(), spans, np.exp(greatest).clip(max=1.0).tolist())

"""All paths that spell a text: a lattice of its symbols with a blank before, between and behind them.

    text  a b b    →    states  ␣ a ␣ b ␣ b ␣

From frame to frame a path stays, goes one state on, or leaves out a blank between two different symbols.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateflow.decoding.ctc.lines import Lines

__all__ = ["Lattice"]

IMPOSSIBLE = -np.inf


class Lattice:
    """The lattices of many texts, side by side.

    Args:
        lines: log probabilities.
        rows: for each text the number of its line, `[M]`; a line may have several texts.
        texts: the symbols of each, without blanks.
    """

    def __init__(self, lines: Lines, rows: Sequence[int], texts: Sequence[Sequence[int]]):
        self.lines, self.rows = lines, np.asarray(rows, dtype=np.int64)
        self.lengths = lines.lengths[self.rows]
        self.last = 2 * np.array([len(text) for text in texts], dtype=np.int64)
        """The last state of each text, a blank, `[M]`."""
        self.states = np.full((len(texts), 1 + int(self.last.max(initial=0))), lines.blank)
        for m, text in enumerate(texts):
            self.states[m, 1 : 2 * len(text) : 2] = text
        # A state that may be entered from two before: a symbol that differs from the symbol before it.
        self._leaps = np.zeros(self.states.shape, dtype=bool)
        self._leaps[:, 3::2] = self.states[:, 3::2] != self.states[:, 1:-2:2]
        self._beyond = np.arange(self.states.shape[1]) > self.last[:, None]

    def log_probability(self) -> np.ndarray:
        """Logarithm of the sum over all paths, `[M]`; -inf where there are none."""
        reached = self._begin()
        for t in range(1, int(self.lengths.max(initial=0))):
            one, two = self._entered(reached)
            further = np.logaddexp(np.logaddexp(reached, one), two) + self._emitted(t)
            reached = np.where((t < self.lengths)[:, None], further, reached)
        return np.where(self.lengths > 0, np.logaddexp(*self._ends(reached)), self._without_frames())

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """The state of the best path at each frame, `[T, M]`, and its log probability, `[M]`.

        Of equally good paths it is the one that stays longest in a state, seen from the end.
        """
        reached, steps = self._begin(), [np.zeros(self.states.shape, dtype=np.int8)]
        for t in range(1, int(self.lengths.max(initial=0))):
            ways = np.stack([reached, *self._entered(reached)])
            step = ways.argmax(0)
            further = np.take_along_axis(ways, step[None], 0)[0] + self._emitted(t)
            reached = np.where((t < self.lengths)[:, None], further, reached)
            steps.append(step.astype(np.int8))
        blank, symbol = self._ends(reached)
        return self._back(steps, blank >= symbol), np.where(
            self.lengths > 0, np.maximum(blank, symbol), self._without_frames()
        )

    def _back(self, steps: list[np.ndarray], ends_in_blank: np.ndarray) -> np.ndarray:
        texts = np.arange(len(self.rows))
        state = np.maximum(np.where(ends_in_blank, self.last, self.last - 1), 0)
        path = np.zeros((len(steps), len(texts)), dtype=np.int64)
        for t in range(len(steps) - 1, -1, -1):
            path[t] = state
            state = np.where(t < self.lengths, state - steps[t][texts, state], state)
        return path

    def _begin(self) -> np.ndarray:
        reached = np.full(self.states.shape, IMPOSSIBLE)
        if len(self.lines.log_probs):
            reached[:, :2] = self._emitted(0)[:, :2]
        return reached

    def _emitted(self, t: int) -> np.ndarray:
        emitted = self.lines.log_probs[t][self.rows[:, None], self.states].astype(np.float64)
        # Also what lies beyond a line's frames, where anything may stand.
        return np.where(self._beyond | (t >= self.lengths)[:, None], IMPOSSIBLE, emitted)

    def _entered(self, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From one state before, and from two."""
        one, two = np.full_like(reached, IMPOSSIBLE), np.full_like(reached, IMPOSSIBLE)
        one[:, 1:], two[:, 2:] = reached[:, :-1], reached[:, :-2]
        return one, np.where(self._leaps, two, IMPOSSIBLE)

    def _ends(self, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paths that end in the last blank, and in the last symbol."""
        texts = np.arange(len(self.rows))
        symbol = reached[texts, np.maximum(self.last - 1, 0)]
        return reached[texts, self.last], np.where(self.last > 0, symbol, IMPOSSIBLE)

    def _without_frames(self) -> np.ndarray:
        return np.where(self.last > 0, IMPOSSIBLE, 0.0)

"""What a search looks at: at each frame the symbols that are probable there, and no frame that has none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateflow.decoding.ctc.lines import Lines

__all__ = ["Frame", "Frames"]


@dataclass(frozen=True)
class Frame:
    """The next frame with symbols of each of the first `M` lines.

    Attributes:
        waits: whether frames of nothing but blanks have gone before since the last one, `[M]`.
        waited: the blanks' log probabilities in these, added up, `[M]`.
        blank: log probability of the blank, `[M]`.
        symbols: the symbols that are looked at, `[M, S]` in rising order; filled up with the blank.
        log_probs: theirs, `[M, S]`; -inf where it is filled up.
        all: log probabilities of all classes, `[M, C]`, -inf for the blank and what is not looked at.
    """

    waits: np.ndarray
    waited: np.ndarray
    blank: np.ndarray
    symbols: np.ndarray
    log_probs: np.ndarray
    all: np.ndarray


class Frames:
    """The frames of many lines, the lines with most of them first.

    Args:
        lines: log probabilities.
        least: log probability from which on a symbol is looked at.
        most: symbols that are looked at at one frame, the most probable ones; none for all.

    Attributes:
        order: which line comes where, `[N]`.
        counts: frames with symbols of each, in that order, `[N]`; falling.
    """

    def __init__(self, lines: Lines, least: float, most: int | None):
        self.lines, blank = lines, lines.blank
        kept = (lines.log_probs >= least) & lines.within[:, :, None]
        kept[:, :, blank] = False
        if most is not None and most < lines.symbols - 1:
            _keep_most(kept, lines.log_probs, most)
        self._sizes = kept.sum(2)
        busy = self._sizes > 0
        counts = busy.sum(0)
        self.order = np.argsort(-counts, kind="stable")
        self.counts = counts[self.order]
        # Number and symbol of what is looked at, by frames and lines: those of one frame stand side by side.
        self._symbols = np.nonzero(kept)[2]
        self._begins = self._sizes.cumsum().reshape(self._sizes.shape) - self._sizes
        self._times = [np.flatnonzero(busy[:, n]) for n in self.order.tolist()]
        self._blanks = [self._between(n, times) for n, times in zip(self.order.tolist(), self._times, strict=True)]

    def __len__(self) -> int:
        return int(self.counts.max(initial=0))

    def frame(self, i: int) -> Frame:
        """The frame of number `i` of each line that has as many."""
        active = int((self.counts > i).sum())
        rows, t = self.order[:active], np.array([times[i] for times in self._times[:active]])
        log_probs = self.lines.log_probs[t, rows].astype(np.float64)
        sizes = self._sizes[t, rows]
        place = np.arange(sizes.max())
        there = place < sizes[:, None]
        at = np.where(there, self._begins[t, rows][:, None] + place, 0)
        symbols = np.where(there, self._symbols[at], self.lines.blank)
        taken = np.where(there, np.take_along_axis(log_probs, symbols, 1), -np.inf)
        table = np.full_like(log_probs, -np.inf)
        np.put_along_axis(table, symbols, taken, 1)
        waits, waited = self._waits(i, active)
        return Frame(waits, waited, log_probs[:, self.lines.blank], symbols, taken, table)

    def rest(self) -> tuple[np.ndarray, np.ndarray]:
        """As `waits` and `waited`, for what follows each line's last frame with symbols."""
        found = [(times[-1], blanks[-1]) for times, blanks in self._blanks]
        return np.array([n > 0 for n, _ in found], dtype=bool), np.array([total for _, total in found])

    def _waits(self, i: int, active: int) -> tuple[np.ndarray, np.ndarray]:
        found = [(counts[i], blanks[i]) for counts, blanks in self._blanks[:active]]
        return np.array([n > 0 for n, _ in found], dtype=bool), np.array([total for _, total in found])

    def _between(self, n: int, times: np.ndarray) -> tuple[list[int], list[float]]:
        """How many frames lie before each frame with symbols and behind the last, and their blanks added up."""
        length = int(self.lines.lengths[n])
        blanks = self.lines.log_probs[:length, n, self.lines.blank].astype(np.float64)
        ends, begins = [*times.tolist(), length], [0, *(times + 1).tolist()]
        # One after the other, as a search does that looks at every frame.
        totals = [sum(blanks[a:b].tolist(), 0.0) for a, b in zip(begins, ends, strict=True)]
        return [b - a for a, b in zip(begins, ends, strict=True)], totals


def _keep_most(kept: np.ndarray, log_probs: np.ndarray, most: int) -> None:
    """Where more symbols are kept than `most`, keep the most probable; of equal ones the first."""
    for t, n in np.argwhere(kept.sum(2) > most):
        here = np.flatnonzero(kept[t, n])
        kept[t, n, here[np.argsort(-log_probs[t, n, here], kind="stable")[most:]]] = False

"""Beam search, all lines at once: a line that is done leaves, and so does each hypothesis that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.beam.asking import Asking
from gateflow.decoding.beam.decoder import Decoder
from gateflow.decoding.beam.history import Ending
from gateflow.decoding.beam.hypothesis import Hypothesis
from gateflow.decoding.beam.options import Options, checked_longest
from gateflow.errors import NoSequenceError

__all__ = ["beam_search"]


class _Candidates(NamedTuple):
    """Hypotheses with one token more, `[N, W · k]`: log probability, that of the token, the token, the row before."""

    totals: np.ndarray
    log_probs: np.ndarray
    tokens: np.ndarray
    rows: np.ndarray


@torch.no_grad()
def beam_search(
    decoder: Decoder,
    state: Any,
    *,
    rows: int,
    start: int,
    end: int,
    beam: int = 5,
    nbest: int = 1,
    length_penalty: float = 0.0,
    coverage_penalty: float = 0.0,
    source_lengths: Sequence[int] | Tensor | None = None,
    min_length: int = 0,
    max_length: int | Sequence[int] | Tensor = 200,
    keep_greedy: bool = True,
) -> list[list[Hypothesis]]:
    """The token sequences of greatest score of each line, among those that a beam search meets.

        score(y) = log p(y) / ((5 + length(y)) / 6)^length_penalty
                   + coverage_penalty · Σ_i log(min(Σ_t attention[t, i], 1))

    where `length` counts the end as a token, and `i` goes over the source. At each step the `beam` most probable
    hypotheses go on; one that ends while it is among them is finished. A line is done when `beam` hypotheses are
    finished, or as soon as no other can be better than the `nbest` best of them.

    Args:
        decoder: what is asked; see `Decoder`.
        state: that of `rows` lines which have said nothing; see `Decoder` for its form.
        rows: how many lines there are, `N`.
        start: the token that is read first.
        end: the token that ends a hypothesis.
        beam: hypotheses that go on. With 1 this is greedy decoding.
        nbest: hypotheses that are returned for each line, at most `beam`. The first does not depend on it.
        length_penalty: 0 ranks by probability, which prefers short ones; 1 nearly by the mean over tokens.
        coverage_penalty: above 0 hypotheses are preferred that attend to all of the source.
        source_lengths: steps of each line's source, `[N]`, so that padding needs no attention; all that the decoder
            attends to if not given.
        min_length: before so many tokens nothing ends.
        max_length: after so many tokens it must end; a number, or one for each line, `[N]`.
        keep_greedy: follow the greedy hypothesis to its end too where it falls out of the beam, so that the result is
            never worse than it.

    Returns:
        For each line its hypotheses, best first: `nbest` of them, or fewer where the search has met fewer. Of equal
        scores the one that ended first comes first.

    Raises:
        ConfigError: an option is out of its range, or the decoder gives numbers above 0, which are no logarithms of
            probabilities.
        ShapeError: something does not fit.
        NonFiniteError: the decoder says NaN.
        NoSequenceError: of a line no hypothesis is possible.

    Example:
        >>> class Bigram:
        ...     def step(self, state, tokens):
        ...         return torch.tensor([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.9, 0.0, 0.1]]).log()[tokens], state
        >>> found = beam_search(Bigram(), None, rows=1, start=0, end=0, beam=2, nbest=2)[0]
        >>> [(each.tokens, round(each.score, 3)) for each in found]  # the greedy one is the second
        [([2], -1.022), ([1], -1.427)]

    Wu et al., "Google's neural machine translation system", arXiv:1609.08144, 2016, section 7.
    """
    options = Options(start, end, beam, nbest, length_penalty, coverage_penalty, min_length, keep_greedy)
    longest = checked_longest(max_length, rows, min_length)
    return _Search(decoder, state, rows, options, longest, source_lengths).run() if rows else []


class _Search:
    """Lines that are not done have columns, one for each hypothesis that goes on, in `score [N, W]`.

    The last column is the greedy hypothesis where it has fallen out of the beam. The rows that the decoder reads are
    the places of `score` that are possible, in their order.
    """

    def __init__(
        self,
        decoder: Decoder,
        state: Any,
        rows: int,
        options: Options,
        longest: Sequence[int],
        source_lengths: Sequence[int] | Tensor | None,
    ):
        self.asking = Asking(decoder, state, rows, options, source_lengths)
        self.options, self.longest = options, np.array(longest)
        self.lines, self.score = np.arange(rows), np.zeros((rows, 1))
        # The column of the greedy hypothesis, -1 where none is followed.
        self.greedy = np.full(rows, 0 if options.keep_greedy else -1)
        self.finished: list[list[Ending]] = [[] for _ in range(rows)]
        # Without greedy hypotheses that had fallen out of the beam.
        self.ended_in_beam = np.zeros(rows, dtype=np.int64)

    def run(self) -> list[list[Hypothesis]]:
        step = 0
        while len(self.lines):
            self._step(step)
            step += 1
        for n, endings in enumerate(self.finished):
            if not endings:
                raise NoSequenceError(f"line {n}: the decoder gives every sequence of an allowed length probability 0.")
        best = [sorted(endings, key=lambda e: -e.score)[: self.options.nbest] for endings in self.finished]
        return [[self.asking.history.hypothesis(ending) for ending in endings] for endings in best]

    def _step(self, step: int) -> None:
        there = self.score > -np.inf
        line, column = np.nonzero(there)
        row = np.zeros(there.shape, dtype=np.int64)
        row[line, column] = np.arange(len(line))
        asked = self.asking.ask(self.lines[line], step, np.equal(self.longest[self.lines[line]], step))
        # [N, W · k]: for each hypothesis the k tokens that are most probable after it.
        log_probs = np.where(there[:, :, None], asked.log_probs[row], -np.inf)
        tokens, width = asked.tokens[row].reshape(len(row), -1), log_probs.shape[2]
        candidates = _Candidates(
            (self.score[:, :, None] + log_probs).reshape(tokens.shape),
            log_probs.reshape(tokens.shape),
            tokens,
            row.repeat(width, axis=1),
        )
        ends, longer = self._in_beam(candidates, width)
        self.ended_in_beam[self.lines] += ends.sum(1)
        greedy = self._add_greedy(candidates, ends, longer, width)
        self._finish(candidates, ends, asked.cut, step)
        self._go_on(candidates, longer, greedy)

    def _in_beam(self, candidates: _Candidates, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Which candidates end among the best, `[N, W · k]`, and where those are that go on, `[N, K + 1]` or -1."""
        K, totals = self.options.beam, candidates.totals.copy()
        totals[:, K * width :] = -np.inf  # the greedy hypothesis outside
        order = np.argsort(-totals, axis=1, kind="stable")
        rows, is_end = np.arange(len(order))[:, None], candidates.tokens == self.options.end
        best = np.zeros(order.shape, dtype=bool)
        best[rows, order[:, :K]] = True
        best &= totals > -np.inf
        # A stable sort by "is the end": those that go on come first, still in their order.
        longer = np.take_along_axis(order, is_end[rows, order].argsort(axis=1, kind="stable")[:, :K], 1)
        missing = is_end[rows, longer] | ~(totals[rows, longer] > -np.inf)
        longer = np.where(missing, -1, longer)
        return best & is_end, np.pad(longer, ((0, 0), (0, K + 1 - longer.shape[1])), constant_values=-1)

    def _add_greedy(self, candidates: _Candidates, ends: np.ndarray, longer: np.ndarray, width: int) -> np.ndarray:
        """Puts the greedy hypothesis among those that end or go on, if it is not; returns its column from now on."""
        greedy, rows = np.full(len(longer), -1), np.arange(len(longer))
        place = self.greedy * width  # its best token is the first of its candidates
        followed = (self.greedy >= 0) & (candidates.totals[rows, place] > -np.inf)
        is_end = candidates.tokens[rows, place] == self.options.end
        ends[rows[followed & is_end], place[followed & is_end]] = True
        for n in np.flatnonzero(followed & ~is_end).tolist():
            inside = np.flatnonzero(longer[n] == place[n])
            greedy[n] = inside[0] if len(inside) else self.options.beam
            longer[n, greedy[n]] = place[n]
        return greedy

    def _finish(self, candidates: _Candidates, ends: np.ndarray, cut: np.ndarray, step: int) -> None:
        for n, place in np.argwhere(ends).tolist():
            row, total = int(candidates.rows[n, place]), float(candidates.totals[n, place])
            score = total / self.options.divisor(step + 1) + self.asking.coverage(row, int(self.lines[n]))
            ending = Ending(score, total, float(candidates.log_probs[n, place]), step, row, bool(cut[row]))
            self.finished[self.lines[n]].append(ending)

    def _go_on(self, candidates: _Candidates, longer: np.ndarray, greedy: np.ndarray) -> None:
        rows = np.arange(len(longer))[:, None]
        score = np.where(longer >= 0, candidates.totals[rows, longer], -np.inf)
        # As many have ended as the beam is wide: of the others the greedy one alone goes on.
        full = self.ended_in_beam[self.lines] >= self.options.beam
        score[full[:, None] & (np.arange(longer.shape[1]) != greedy[:, None])] = -np.inf
        best = zip(self.lines.tolist(), score.max(1).tolist(), strict=True)
        stays = np.array([self._may_be_better(n, greatest) for n, greatest in best], dtype=bool)
        self.lines, self.greedy, self.score = self.lines[stays], greedy[stays], score[stays]
        line, column = np.nonzero(self.score > -np.inf)
        of, place = np.flatnonzero(stays)[line], longer[stays][line, column]
        self.asking.say(candidates.tokens[of, place], candidates.rows[of, place], candidates.log_probs[of, place])

    def _may_be_better(self, line: int, log_probability: float) -> bool:
        """Whether a hypothesis that goes on, so far of this log probability, may be among the best in the end."""
        if log_probability == -np.inf:
            return False
        scores = sorted((ending.score for ending in self.finished[line]), reverse=True)[: self.options.nbest]
        # It can but lose, and loses least if it is divided by the most.
        bound = log_probability / self.options.divisor(int(self.longest[line]) + 1)
        return len(scores) < self.options.nbest or bound > scores[-1]

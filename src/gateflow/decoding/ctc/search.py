"""The search itself, in float64, over all lines at once: frame by frame, the lines that have ended left out.

Its numbers do not depend on which lines are searched together: numpy computes `logaddexp` one number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from gateflow.decoding.ctc.language_model import LanguageModel
from gateflow.decoding.ctc.pruning import Frame, Frames
from gateflow.decoding.ctc.trie import EMPTY, NO_PARENT, Trie
from gateflow.decoding.states import join, select
from gateflow.errors import NonFiniteError, ShapeError

__all__ = ["Fusion", "Text", "first_of_greatest", "search"]


class Fusion(NamedTuple):
    """What is added to the logarithm of a prefix's probability."""

    model: LanguageModel | None
    weight: float
    insertion: float


@dataclass(frozen=True)
class Text:
    """A text that the search has met, with the logarithm of its probability and its score."""

    tokens: list[int]
    log_probability: float
    score: float


@dataclass
class _Beam:
    """The best prefixes of each line, `[M, K]` each, best first.

    Attributes:
        node: in the trie.
        parent: the node of the prefix without its last symbol.
        last: its last symbol; the blank for the empty prefix, which no symbol is equal to.
        blank, symbol: log probability of its paths that end in a blank, and of those that end in its last symbol.
        added: what language model and insertion bonus add.
    """

    node: np.ndarray
    parent: np.ndarray
    last: np.ndarray
    blank: np.ndarray
    symbol: np.ndarray
    added: np.ndarray

    def __iter__(self) -> Any:
        return iter((self.node, self.parent, self.last, self.blank, self.symbol, self.added))


def search(frames: Frames, beam: int, fusion: Fusion) -> list[list[Text]]:
    """The prefixes that are left at the end of each line, in the order of the lines; best first."""
    return _Search(frames, beam, fusion).run()


class _Search:
    def __init__(self, frames: Frames, beam: int, fusion: Fusion):
        self.frames, self.width, self.fusion = frames, beam, fusion
        N, C = len(frames.order), frames.lines.symbols
        self.trie = Trie(N, C)
        self.beam = _first(N, beam, frames.lines.blank)
        self.expected = _Expected(fusion.model, N, beam, C) if fusion.model is not None else None

    def run(self) -> list[list[Text]]:
        for i in range(len(self.frames)):
            frame = self.frames.frame(i)
            active = len(frame.blank)
            before = _Beam(*(part[:active] for part in self.beam))
            for part, new in zip(self.beam, self._step(before, frame), strict=True):
                part[:active] = new
        _wait(self.beam, *self.frames.rest())
        found: list[list[Text]] = [[] for _ in self.frames.order]
        for row, texts in zip(self.frames.order.tolist(), self._texts(), strict=True):
            found[row] = texts
        return found

    def _step(self, before: _Beam, frame: Frame) -> _Beam:
        _wait(before, frame.waits, frame.waited)
        M, K, S = *before.node.shape, frame.symbols.shape[1]
        total = np.logaddexp(before.blank, before.symbol)
        staying, longer = self._reached(before, total, frame)
        ranks = np.concatenate([np.logaddexp(*staying) + before.added, self._ranks(before, longer, frame)], axis=1)
        chosen = first_of_greatest(ranks, K)
        rows = np.arange(M)[:, None]
        there, stays = ranks[rows, chosen] > -np.inf, chosen < K
        source = np.where(stays, chosen, (chosen - K) // S)
        place = np.where(stays, 0, (chosen - K) % S)
        symbol = np.where(stays, before.last[rows, source], frame.symbols[rows, place])
        score = longer[rows, source, place]
        after = _Beam(
            before.node[rows, source],
            np.where(stays, before.parent[rows, source], before.node[rows, source]),
            symbol,
            np.where(there & stays, staying[0][rows, source], -np.inf),
            np.where(there, np.where(stays, staying[1][rows, source], score), -np.inf),
            before.added[rows, source],
        )
        self._extend(after, source, there & ~stays)
        after.node[~there], after.parent[~there] = EMPTY, NO_PARENT
        return after

    def _reached(
        self, before: _Beam, total: np.ndarray, frame: Frame
    ) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Log probabilities of prefixes that stay, by blank and by symbol, and of those with one symbol more."""
        rows = np.arange(len(total))[:, None]
        again = frame.all[rows, before.last]
        symbol = before.symbol + again
        repeats = frame.symbols[:, None] == before.last[:, :, None]
        longer = np.where(repeats, before.blank[:, :, None], total[:, :, None]) + frame.log_probs[:, None]
        # A prefix may be in the beam, and the prefix without its last symbol too: then it is reached from there, and
        # is no new one.
        family = before.parent[:, :, None] == before.node[:, None]
        m, child, parent = np.nonzero(family)
        place = _place(frame.symbols[m], before.last[m, child])
        seen = again[m, child] > -np.inf
        m, child, parent, place = m[seen], child[seen], parent[seen], place[seen]
        symbol[m, child] = np.logaddexp(symbol[m, child], longer[m, parent, place])
        longer[m, parent, place] = -np.inf
        return (total + frame.blank[:, None], symbol), longer

    def _ranks(self, before: _Beam, longer: np.ndarray, frame: Frame) -> np.ndarray:
        added = before.added[:, :, None] + self.fusion.insertion
        if self.expected is not None:
            rows = np.arange(len(longer))[:, None, None]
            of_model = self.expected.log_probs[rows, np.arange(self.width)[:, None], frame.symbols[:, None]]
            added = added + self.fusion.weight * of_model
        return (longer + added).reshape(len(longer), -1)

    def _extend(self, after: _Beam, source: np.ndarray, new: np.ndarray) -> None:
        """Give new prefixes their nodes and what is added to their scores."""
        m, k = np.nonzero(new)
        after.node[m, k] = self.trie.extended(after.node[m, k].tolist(), after.last[m, k].tolist())
        after.added[m, k] += self.fusion.insertion
        if self.expected is not None:
            after.added[m, k] += self.fusion.weight * self.expected.log_probs[m, source[m, k], after.last[m, k]]
            self.expected.follow(source, new, after.last)

    def _texts(self) -> list[list[Text]]:
        blank = self.frames.lines.blank
        probability = np.logaddexp(self.beam.blank, self.beam.symbol)
        score = probability + self.beam.added
        if self.expected is not None:
            score = score + self.fusion.weight * self.expected.log_probs[:, :, blank]
        order, found = np.argsort(-score, axis=1, kind="stable"), []
        for n, places in enumerate(order.tolist()):
            there = [k for k in places if score[n, k] > -np.inf]
            spelled = [self.trie.spelled(int(self.beam.node[n, k])) for k in there]
            found.append(
                [Text(s, float(probability[n, k]), float(score[n, k])) for s, k in zip(spelled, there, strict=True)]
            )
        return found


class _Expected:
    """What a language model expects after each prefix of each line."""

    def __init__(self, model: LanguageModel, lines: int, beam: int, classes: int):
        self.model, self.beam = model, beam
        log_probs, state = model.start(lines)
        self._classes = classes
        self._state = select(state, torch.arange(lines).repeat_interleave(beam))
        self.log_probs = np.repeat(self._checked(log_probs, lines)[:, None], beam, axis=1)

    def follow(self, source: np.ndarray, new: np.ndarray, last: np.ndarray) -> None:
        """Go on from the prefixes of number `source`, `[M, K]`; where they are `new`, by the symbol `last`."""
        M = len(source)
        rows = np.arange(M)[:, None] * self.beam + source
        log_probs = self.log_probs[np.arange(M)[:, None], source]
        order = rows.flatten()
        if new.any():
            tokens, parents = torch.from_numpy(last[new]), torch.from_numpy(rows[new])
            fresh, state = self.model.advance(select(self._state, parents), tokens)
            log_probs[new] = self._checked(fresh, len(tokens))
            order[new.flatten()] = M * self.beam + np.arange(len(tokens))
            self._state = join(self._first(M), state)
        self._state = select(self._state, torch.from_numpy(order))
        self.log_probs[:M] = log_probs

    def _first(self, lines: int) -> Any:
        return select(self._state, torch.arange(lines * self.beam))

    def _checked(self, log_probs: torch.Tensor, rows: int) -> np.ndarray:
        if tuple(log_probs.shape) != (rows, self._classes):
            raise ShapeError(
                f"the language model must give log probabilities of all {self._classes} classes for {rows} prefixes, "
                f"[{rows}, {self._classes}]; it has given {list(log_probs.shape)}"
            )
        found = log_probs.detach().double().cpu().numpy()
        if np.isnan(found).any():
            raise NonFiniteError("the log probabilities of the language model hold NaN: its weights are damaged.")
        return found


def _first(lines: int, beam: int, blank: int) -> _Beam:
    """The empty prefix of each line, and room for others."""
    shape = lines, beam
    node, parent = np.full(shape, EMPTY), np.full(shape, NO_PARENT)
    node[:, 0] = np.arange(lines)
    ends_in_blank = np.full(shape, -np.inf)
    ends_in_blank[:, 0] = 0.0
    return _Beam(node, parent, np.full(shape, blank), ends_in_blank, np.full(shape, -np.inf), np.zeros(shape))


def _wait(beam: _Beam, waits: np.ndarray, waited: np.ndarray) -> None:
    """Let frames of nothing but blanks go by, in place."""
    total = np.logaddexp(beam.blank, beam.symbol) + waited[:, None]
    beam.blank[:] = np.where(waits[:, None], total, beam.blank)
    beam.symbol[waits] = -np.inf


def _place(symbols: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each line of `symbols [R, S]` has its `wanted` symbol, `[R]`; 0 where it has not."""
    return (symbols == wanted[:, None]).argmax(1) if symbols.shape[1] else np.zeros(len(wanted), dtype=np.int64)


def first_of_greatest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` greatest of each row, greatest first; of equal ones the first.

    Example:
        >>> first_of_greatest(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]]), 2)
        array([[1, 2]])
    """
    least = np.partition(values, -count, axis=1)[:, -count, None]
    above, level = values > least, values == least
    taken = above | (level & (level.cumsum(1) <= count - above.sum(1, keepdims=True)))
    places = np.nonzero(taken)[1].reshape(len(values), count)
    order = np.argsort(-np.take_along_axis(values, places, 1), axis=1, kind="stable")
    return np.take_along_axis(places, order, 1)

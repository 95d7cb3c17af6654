"""What a language model expects after each prefix of a search."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.ctc.language_model import LanguageModel
from gateflow.decoding.states import join, select
from gateflow.errors import ConfigError, NonFiniteError, ShapeError

__all__ = ["Expected"]

_ROUNDING = 1e-3
"""Nats by which a sum of probabilities may exceed 1 where a model computes in float32, or a little less exactly."""


class Expected:
    """The answers of a model, a row for each prefix that it has read, and which prefix has which, `[N, K]`.

    Args:
        model: the language model.
        lines: `N`, each with an empty prefix at first.
        beam: places for prefixes of each, `K`.
        classes: symbols and the blank, `C`.
    """

    def __init__(self, model: LanguageModel, lines: int, beam: int, classes: int):
        self.model, self._classes, self._most = model, classes, 2 * lines * beam
        log_probs, self._states = model.start(lines)
        self._log_probs = self._checked(log_probs, lines)
        # Of a prefix that has not been read, the row of the prefix without its last symbol.
        self._rows = np.arange(lines)[:, None].repeat(beam, axis=1)
        self._read = np.ones((lines, beam), dtype=bool)

    def read(self, there: np.ndarray, last: np.ndarray) -> None:
        """Let the model read the last symbols of the prefixes, `[M, K]`, that are `there` and that it has not read."""
        m, k = np.nonzero(there & ~self._read[: len(there)])
        if not len(m):
            return
        before = torch.from_numpy(self._rows[m, k])
        log_probs, states = self.model.advance(select(self._states, before), torch.from_numpy(last[m, k]))
        self._rows[m, k], self._read[m, k] = len(self._log_probs) + np.arange(len(m)), True
        self._log_probs = np.concatenate([self._log_probs, self._checked(log_probs, len(m))])
        self._states = join(self._states, states)
        if len(self._log_probs) > self._most:
            self._forget()

    def log_probs(self, symbols: np.ndarray) -> np.ndarray:
        """Of some symbols `[M, S]` after each prefix, `[M, K, S]`; 0 after those that have not been read."""
        rows, read = self._rows[: len(symbols)], self._read[: len(symbols)]
        return np.where(read[:, :, None], self._log_probs[rows[:, :, None], symbols[:, None]], 0.0)

    def after(self, m: np.ndarray, k: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Of a symbol after each of some prefixes, all `[R]`, which have been read."""
        return self._log_probs[self._rows[m, k], symbols]

    def follow(self, source: np.ndarray, new: np.ndarray) -> None:
        """Prefixes go on, `[M, K]`: each from the one of number `source`, and with a symbol more where it is `new`."""
        lines, M = np.arange(len(source))[:, None], len(source)
        self._rows[:M] = self._rows[lines, source]
        self._read[:M] = self._read[lines, source] & ~new

    def _forget(self) -> None:
        """What no prefix goes back to."""
        used, rows = np.unique(self._rows, return_inverse=True)
        self._states = select(self._states, torch.from_numpy(used))
        self._log_probs, self._rows = self._log_probs[used], rows.reshape(self._rows.shape)

    def _checked(self, log_probs: Tensor, rows: int) -> np.ndarray:
        if tuple(log_probs.shape) != (rows, self._classes):
            raise ShapeError(
                f"the language model must give log probabilities of all {self._classes} classes for {rows} prefixes, "
                f"[{rows}, {self._classes}]; it has given {list(log_probs.shape)}"
            )
        found = log_probs.detach().double().cpu().numpy()
        if np.isnan(found).any():
            raise NonFiniteError("the log probabilities of the language model hold NaN: its weights are damaged.")
        if (found > _ROUNDING).any():
            raise ConfigError(
                f"the language model must give logarithms of probabilities, so at most 0, not {found.max():.4g}."
            )
        return found

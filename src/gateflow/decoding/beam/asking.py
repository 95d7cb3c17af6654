"""What a search asks of a decoder: the most probable tokens after each hypothesis, for all that go on together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.beam.decoder import Decoder
from gateflow.decoding.beam.history import History
from gateflow.decoding.beam.options import Options
from gateflow.decoding.ranking import ROUNDING, greatest
from gateflow.decoding.states import device_of, select
from gateflow.errors import ConfigError, NonFiniteError, ShapeError

__all__ = ["Asked", "Asking"]


class Asked(NamedTuple):
    """The most probable tokens after each row, `[R, k]`, most probable first, and their log probabilities.

    Rows that must end have the end alone; where another token was more probable they are `cut [R]`.
    """

    log_probs: np.ndarray
    tokens: np.ndarray
    cut: np.ndarray


class Asking:
    """A decoder, with what it has read so far.

    Attributes:
        history: what has been said, and after what.
    """

    def __init__(
        self,
        decoder: Decoder,
        state: Any,
        rows: int,
        options: Options,
        source_lengths: Sequence[int] | Tensor | None,
    ):
        self.decoder, self.state, self.options, self.device = decoder, state, options, device_of(state)
        self.history = History()
        self.history.say(np.full(rows, options.start), np.zeros(rows, dtype=np.int64), np.zeros(rows))
        self._tokens = torch.full((rows,), options.start, device=self.device)
        self._sources = None if source_lengths is None else _checked_sources(source_lengths, rows)
        self._attended: np.ndarray | None = None

    def ask(self, lines: np.ndarray, step: int, must_end: np.ndarray) -> Asked:
        """The tokens that may follow each row; those that `must_end` have the end alone."""
        answer = self.decoder.step(self.state, self._tokens)
        log_probs, self.state = self._checked(answer[0], len(lines)), answer[1]
        self._attend(answer[2] if len(answer) > 2 else None, len(lines))
        ends = log_probs[:, self.options.end].double().cpu().numpy()
        if step < self.options.min_length:
            log_probs = log_probs.index_fill(1, torch.tensor([self.options.end], device=log_probs.device), -torch.inf)
        values, tokens = greatest(log_probs, min(self.options.beam + 1, log_probs.shape[1]))
        tokens = tokens.cpu().numpy()
        cut = must_end & (tokens[:, 0] != self.options.end)
        found = Asked(values.double().clamp(max=0.0).cpu().numpy(), tokens, cut)
        if must_end.any():
            found.log_probs[must_end], found.tokens[must_end] = -np.inf, self.options.end
            found.log_probs[must_end, 0] = np.minimum(ends[must_end], 0.0)
        return found

    def say(self, tokens: np.ndarray, parents: np.ndarray, log_probs: np.ndarray) -> None:
        """The rows from now on: their tokens, after which rows they come, and their log probabilities, `[R]`."""
        self.history.say(tokens, parents, log_probs)
        self._tokens = torch.from_numpy(tokens).to(self.device)
        self.state = select(self.state, torch.from_numpy(parents).to(self.device))
        if self._attended is not None:
            self._attended = self._attended[parents]

    def coverage(self, row: int, line: int) -> float:
        """What is added to the score of a hypothesis that ends at this row."""
        if self._attended is None:
            return 0.0
        attended = self._attended[row]
        return self.options.coverage(attended if self._sources is None else attended[: self._sources[line]])

    def _attend(self, attention: Tensor | None, rows: int) -> None:
        if attention is None:
            if self.options.coverage_penalty:
                raise ConfigError("coverage_penalty needs a decoder whose step returns its attention as a third value.")
            return
        if attention.dim() != 2 or len(attention) != rows:
            raise ShapeError(
                f"the decoder's attention must be [R, S], for R = {rows} rows; found {list(attention.shape)}"
            )
        self.history.attend(attention)
        if self.options.coverage_penalty:
            now = attention.double().cpu().numpy()
            self._attended = now if self._attended is None else self._attended + now

    def _checked(self, log_probs: Tensor, rows: int) -> Tensor:
        if log_probs.dim() != 2 or len(log_probs) != rows:
            raise ShapeError(f"the decoder must give [R, V] for R = {rows} rows; found {list(log_probs.shape)}")
        if not max(self.options.start, self.options.end) < log_probs.shape[1]:
            raise ConfigError(
                f"start={self.options.start} and end={self.options.end} must be among the {log_probs.shape[1]} tokens "
                "of the decoder."
            )
        most = float(log_probs.max()) if log_probs.numel() else 0.0
        if np.isnan(most):
            raise NonFiniteError("the decoder's log probabilities hold NaN: its weights or its input are damaged.")
        if most > ROUNDING:
            raise ConfigError(
                f"the decoder must give logarithms of probabilities, so at most 0; found {most:.4g}. Pass "
                "`log_softmax(-1)` of its scores."
            )
        return log_probs


def _checked_sources(source_lengths: Sequence[int] | Tensor, rows: int) -> np.ndarray:
    found = np.asarray(torch.as_tensor(source_lengths).cpu())
    if found.shape != (rows,):
        raise ShapeError(f"source_lengths must be {rows} whole numbers, one for each line; found {list(found.shape)}")
    return found

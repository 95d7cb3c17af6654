"""What comes in: log probabilities of lines, looked at once, and no more of them than lies within their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.ranking import ROUNDING
from gateflow.errors import ConfigError, NoSequenceError, ShapeError
from gateflow.layers.sequences import checked_lengths

__all__ = ["Lengths", "Lines", "checked_lines"]

Lengths = Tensor | Sequence[int] | None


@dataclass(frozen=True)
class Lines:
    """Log probabilities on the CPU.

    Attributes:
        log_probs: `[T, N, C]`, in float32 or float64; beyond a line's length anything.
        lengths: frames of each line, `[N]`.
        blank: the class that stands for no symbol.
        best: the most probable class of each frame, `[T, N]`.
        greatest: its log probability, in float64.
    """

    log_probs: np.ndarray
    lengths: np.ndarray
    blank: int
    best: np.ndarray
    greatest: np.ndarray

    @property
    def symbols(self) -> int:
        """How many classes there are, the blank among them."""
        return self.log_probs.shape[2]

    @cached_property
    def within(self) -> np.ndarray:
        """Which frames belong to their line, `[T, N]`."""
        return np.arange(len(self.log_probs))[:, None] < self.lengths


def checked_lines(log_probs: Tensor, lengths: Lengths, blank: int) -> Lines:
    """The lines, if they are such.

    Raises:
        ShapeError: `log_probs` is not `[T, N, C]` of floating-point numbers, or `lengths` does not fit.
        ConfigError: `blank` is no class, or what came are not logarithms of probabilities.
        NoSequenceError: a frame holds NaN or nothing but -inf.
    """
    if not isinstance(log_probs, Tensor) or log_probs.dim() != 3 or not log_probs.is_floating_point():
        found = f"{list(log_probs.shape)} of {log_probs.dtype}" if isinstance(log_probs, Tensor) else type(log_probs)
        raise ShapeError(
            f"log_probs must be floating-point numbers [T, N, C], for each frame, line and class, found {found}; time "
            "comes first: pass `log_probs.transpose(0, 1)` if the lines do"
        )
    T, N, C = log_probs.shape
    if isinstance(blank, bool) or not isinstance(blank, int) or not 0 <= blank < C:
        raise ConfigError(f"blank must be one of the {C} classes, an integer from 0 to {C - 1}, not {blank!r}.")
    rows = None if lengths is None else checked_lengths(lengths, log_probs)
    rows = torch.full((N,), T) if rows is None else rows.cpu()
    if N and not (int(rows.min()) >= 0 and int(rows.max()) <= T):  # those of a GPU have not been looked at
        raise ShapeError(f"lengths must lie between 0 and T = {T}, found {int(rows.min())} to {int(rows.max())}")
    numbers = log_probs.detach().cpu()
    numbers = numbers if numbers.dtype in (torch.float32, torch.float64) else numbers.float()
    greatest, best = numbers.max(2)
    lines = Lines(numbers.contiguous().numpy(), rows.numpy(), blank, best.numpy(), greatest.double().numpy())
    _refuse_what_is_no_logarithm(lines)
    return lines


def _refuse_what_is_no_logarithm(lines: Lines) -> None:
    sound = (lines.greatest > -np.inf) & (lines.greatest <= ROUNDING)
    if np.all(sound | ~lines.within):
        return
    t, n = (int(i) for i in np.argwhere(~sound & lines.within)[0])
    found = lines.greatest[t, n]
    if found > ROUNDING:
        raise ConfigError(
            f"log_probs must be logarithms of probabilities, so at most 0; found {found:.4g} at frame {t} of line {n}. "
            "Pass `log_probs.log_softmax(-1)` if these are the scores of a network."
        )
    what = "holds NaN" if np.isnan(found) else "says that every class is impossible (-inf)"
    raise NoSequenceError(
        f"frame {t} of line {n} {what}, so nothing can be read there; look at the network's weights and input."
    )

"""The most probable class of each frame, one by one."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from gateflow.decoding.ctc.lines import Lengths, checked_lines
from gateflow.decoding.ctc.paths import Hypothesis, spelled

__all__ = ["best_path"]


def best_path(log_probs: Tensor, lengths: Lengths = None, *, blank: int = 0) -> list[Hypothesis]:
    """What the single best path of each line spells: fast, and near the most probable text where a network is sure.

        path = argmax_c log_probs[t, c] for each t;    score = Σ_t max_c log_probs[t, c]

    Args:
        log_probs: `[T, N, C]`, the logarithm of the probability of each class at each frame of each line, on any
            device, in any floating-point type. Of equally probable classes the first is taken.
        lengths: frames of each line, `[N]`, from 0 to `T`; all are `T` long if not given. What lies beyond is never
            looked at.
        blank: the class that stands for no symbol.

    Returns:
        A hypothesis for each line; of no symbols, with a score of 0, for a line without frames.

    Raises:
        ShapeError: shapes do not fit.
        ConfigError: `blank` is no class, or numbers above 0, which are no logarithms of probabilities.
        NoSequenceError: a frame holds NaN or nothing but -inf.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]]).log()[:, None]
        >>> found = best_path(log_probs)[0]
        >>> found.tokens, found.spans, round(found.confidence, 4)
        ([1, 1], [(0, 1), (3, 3)], 0.3024)

    Graves et al. 2006, section 3.2: "best path decoding".
    """
    lines, found = checked_lines(log_probs, lengths, blank), []
    for n, length in enumerate(lines.lengths.tolist()):
        greatest = lines.greatest[:length, n]
        text = spelled(lines.best[:length, n], greatest, blank)
        # Not torch's sum, whose order of addition depends on how many lines there are.
        score = float(np.add.accumulate(greatest)[-1]) if length else 0.0
        found.append(Hypothesis(text.tokens, score, score, text.spans, text.confidences))
    return found

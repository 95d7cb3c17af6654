"""Where the symbols of a known text lie, and how probable a text is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gateflow.decoding.ctc import native
from gateflow.decoding.ctc.lattice import Lattice
from gateflow.decoding.ctc.lines import Lengths, Lines, checked_lines
from gateflow.decoding.ctc.paths import Alignment, Spelled, spelled
from gateflow.errors import NoSequenceError, ShapeError

__all__ = ["align", "best_alignments", "frames_needed", "log_probability"]

Targets = Sequence[Sequence[int] | Tensor]


def align(
    log_probs: Tensor,
    lengths: Lengths,
    targets: Targets,
    *,
    blank: int = 0,
    names: Sequence[str] | None = None,
) -> list[Alignment]:
    """The best path of each line among those that spell its text (forced alignment, by Viterbi).

    Args:
        log_probs, lengths, blank: as for `best_path`.
        targets: the symbols of each line, without blanks: a list of integers or a tensor for each.
        names: what a line is called in a message, such as its file; its number if not given.

    Returns:
        An alignment for each line. Of equally good paths it is the one that stays longest in a symbol or blank, seen
        from the end.

    Raises:
        ShapeError: shapes do not fit, or a symbol that is none of the classes or the blank.
        NoSequenceError: a line is too short for its text, or the network holds it impossible; a frame holds NaN.

    Example:
        >>> log_probs = torch.tensor([[0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.4, 0.6]]).log()[:, None]
        >>> found = align(log_probs, [4], [[1]])[0]
        >>> found.spans, round(found.confidences[0], 4)
        ([(0, 1)], 0.9)

    Viterbi on the lattice of Graves et al. 2006, section 4.1.
    """
    lines = checked_lines(log_probs, lengths, blank)
    texts = _checked_targets(lines, targets)
    called = [f"line {n}" for n in range(len(texts))] if names is None else list(names)
    for name, text, frames in zip(called, texts, lines.lengths.tolist(), strict=True):
        if (needed := frames_needed(text)) > frames:
            raise NoSequenceError(
                f"{name} has {frames} frames, and its text of {len(text)} symbols needs at least {needed}: one for "
                "each symbol and a blank between two that are equal. Give the network more frames, or mend the text."
            )
    found, scores = best_alignments(lines, range(len(texts)), texts)
    for name, text, score in zip(called, texts, scores, strict=True):
        if score == -np.inf:
            raise NoSequenceError(f"{name}: the network gives its text of {len(text)} symbols the probability 0.")
    return [
        Alignment(each.tokens, score, each.spans, each.confidences) for each, score in zip(found, scores, strict=True)
    ]


def log_probability(log_probs: Tensor, lengths: Lengths, targets: Targets, *, blank: int = 0) -> Tensor:
    """The logarithm of the probability of each line's text, so of all its paths together; -inf where there are none.

        log p(text) = log Σ_{paths that spell it} Π_t p_t(path_t)

    It is the negative of `torch.nn.functional.ctc_loss`, computed in float64, without gradients.

    Args:
        log_probs, lengths, blank: as for `best_path`.
        targets: as for `align`.

    Returns:
        `[N]` in float64, on the CPU.

    Raises:
        ShapeError, ConfigError, NoSequenceError: as `align`, but texts that do not fit are no error.

    Example:
        >>> log_probs = torch.tensor([[0.4, 0.6], [0.5, 0.5]]).log()[:, None]
        >>> log_probability(log_probs, [2], [[1]]).exp()  # 0.6 · 0.5 + 0.6 · 0.5 + 0.4 · 0.5
        tensor([0.8000], dtype=torch.float64)
    """
    lines = checked_lines(log_probs, lengths, blank)
    texts = _checked_targets(lines, targets)
    return torch.from_numpy(Lattice(lines, range(len(texts)), texts).log_probability())


def frames_needed(text: Sequence[int]) -> int:
    """The fewest frames with which a text can be spelled: one for each symbol, and a blank between equal ones.

    Example:
        >>> frames_needed([7, 7, 4])
        4
    """
    return len(text) + sum(a == b for a, b in itertools.pairwise(text))


def best_alignments(
    lines: Lines, rows: Sequence[int], texts: Sequence[Sequence[int]]
) -> tuple[list[Spelled], list[float]]:
    """The best path of each text on its line, and its log probability."""
    if native.is_there():
        return native.best_alignments(lines, rows, texts)
    lattice = Lattice(lines, rows, texts)
    states, scores = lattice.best()
    found = []
    for m, (row, length) in enumerate(zip(rows, lattice.lengths.tolist(), strict=True)):
        path = lattice.states[m, states[:length, m]]
        emitted = lines.log_probs[np.arange(length), row, path]
        found.append(spelled(path, emitted.astype(np.float64), lines.blank))
    return found, scores.tolist()


def _checked_targets(lines: Lines, targets: Targets) -> list[list[int]]:
    if len(targets) != len(lines.lengths):
        raise ShapeError(f"targets must be a text for each of {len(lines.lengths)} lines, found {len(targets)}")
    texts = [text.tolist() if isinstance(text, Tensor) else list(text) for text in targets]
    for n, text in enumerate(texts):
        for symbol in text:
            if not isinstance(symbol, int) or not 0 <= symbol < lines.symbols or symbol == lines.blank:
                raise ShapeError(
                    f"targets must be classes from 0 to {lines.symbols - 1} other than the blank, {lines.blank}; "
                    f"found {symbol!r} in that of line {n}"
                )
    return texts

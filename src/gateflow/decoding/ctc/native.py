"""The search and the best paths in C++, where this machine can build them; the same as in numpy, and far faster."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from gateflow.backends.cpu import ctc
from gateflow.decoding.ctc.lines import Lines
from gateflow.decoding.ctc.paths import Spelled
from gateflow.decoding.ctc.search import Text
from gateflow.errors import ReferencePathWarning

__all__ = ["best_alignments", "is_there", "search"]


def is_there() -> bool:
    """Whether this machine can; a warning says why not."""
    problem = ctc.obstacle()
    if problem is not None:
        warnings.warn(
            f"CTC is decoded in numpy, with the same results and many times slower: {problem}",
            ReferencePathWarning,
            stacklevel=3,
        )
    return problem is None


def search(
    lines: Lines, *, least: float, most: int | None, beam: int, nbest: int, insertion: float
) -> list[list[Text]]:
    """The `nbest` best texts of each line."""
    found = ctc.prefix_beam(
        lines.log_probs,
        lines.lengths,
        blank=lines.blank,
        least=least,
        most=lines.symbols if most is None else most,
        beam=beam,
        nbest=nbest,
        insertion=insertion,
    )
    texts: list[list[Text]] = [[] for _ in lines.lengths]
    for n, k in np.argwhere(found.counts >= 0).tolist():
        symbols = found.symbols[n, k, : found.counts[n, k]].tolist()
        texts[n].append(Text(symbols, float(found.log_probs[n, k]), float(found.scores[n, k])))
    return texts


def best_alignments(
    lines: Lines, rows: Sequence[int], texts: Sequence[Sequence[int]]
) -> tuple[list[Spelled], list[float]]:
    """The best path of each text on its line, and its log probability."""
    counts = np.array([0, *map(len, texts)], dtype=np.int64)
    symbols = np.array([symbol for text in texts for symbol in text], dtype=np.int64)
    begins = counts.cumsum()
    found = ctc.best_paths(
        lines.log_probs,
        lines.lengths,
        blank=lines.blank,
        rows=np.array(rows, dtype=np.int64),
        begins=begins,
        symbols=symbols,
    )
    confidences = np.exp(found.greatest).clip(max=1.0).tolist()
    spans, ends = list(map(tuple, found.spans.tolist())), begins.tolist()
    places = zip(texts, ends, ends[1:], strict=False)
    return [Spelled(list(text), spans[a:b], confidences[a:b]) for text, a, b in places], found.scores.tolist()

"""Decoding by CTC in C++: what `decoding/ctc` defines in numpy, a hundred times as fast; see `native/ctc.h`."""

from __future__ import annotations

import ctypes
import functools
from typing import NamedTuple

import numpy as np
import torch

from gateflow.backends.cpu.build import build, load
from gateflow.errors import BuildError

__all__ = ["BestPaths", "Texts", "best_paths", "obstacle", "prefix_beam"]

_REALS = {"float32": "float", "float64": "double"}
_WORTH_THREADS = 1 << 16
"""Numbers of log probabilities from which on the start of threads is worth it."""

_TEXT = """// Decoding by CTC, for log probabilities of one type.
#include "ctc.h"

using Real = GATEFLOW_REAL;
using namespace gateflow;

extern "C" __attribute__((visibility("default")))
void prefix_beam(const Real* log_probs, const int64_t* sizes, const int64_t* lengths, const double* numbers,
                 int64_t* symbols, int64_t* counts, double* text_log_probs, double* scores) {
    const int64_t frames = sizes[0], lines = sizes[1], threads = sizes[7];
    const Lines<Real> all{log_probs, lines, sizes[2], sizes[3], lengths};
    const Limits limits{numbers[0], numbers[1], sizes[4], sizes[5], sizes[6]};
    for_each_of(lines, threads, [&](int64_t n) {
        const int64_t first = n * limits.nbest;
        const Texts to{symbols + first * frames, counts + first, text_log_probs + first, scores + first};
        PrefixBeam<Real>(limits).search(all, n, frames, to);
    });
}

extern "C" __attribute__((visibility("default")))
void best_paths(const Real* log_probs, const int64_t* sizes, const int64_t* lengths, const int64_t* rows,
                const int64_t* begins, const int64_t* symbols, int64_t* spans, double* best, double* scores) {
    const Lines<Real> all{log_probs, sizes[1], sizes[2], sizes[3], lengths};
    for_each_of(sizes[4], sizes[5], [&](int64_t m) {
        const int64_t first = begins[m], count = begins[m + 1] - first;
        scores[m] = BestPath<Real>().find(all, rows[m], symbols + first, count, spans + 2 * first, best + first);
    });
}
"""


class Texts(NamedTuple):
    """The best texts of each line: symbols `[N, n, T]`, and `[N, n]` how many (-1: no text), log probability, score."""

    symbols: np.ndarray
    counts: np.ndarray
    log_probs: np.ndarray
    scores: np.ndarray


class BestPaths(NamedTuple):
    """Of each symbol of all texts its first and last frame, `[U, 2]`, and its greatest log probability in between,
    `[U]`; of each text the log probability of its path, `[M]`.
    """

    spans: np.ndarray
    greatest: np.ndarray
    scores: np.ndarray


@functools.cache
def obstacle() -> str | None:
    """Why this machine cannot decode in C++; none where it can. It is tried once in a process."""
    try:
        for dtype in _REALS:
            _library(dtype)
    except BuildError as problem:
        return str(problem)
    return None


def prefix_beam(
    log_probs: np.ndarray,
    lengths: np.ndarray,
    *,
    blank: int,
    least: float,
    most: int,
    beam: int,
    nbest: int,
    insertion: float,
) -> Texts:
    """The best texts of lines `[T, N, C]`, in float32 or float64; see `decoding.ctc.prefix_beam_search`."""
    T, N, C = log_probs.shape
    symbols, counts = np.empty((N, nbest, T), np.int64), np.empty((N, nbest), np.int64)
    found = Texts(symbols, counts, np.empty((N, nbest)), np.empty((N, nbest)))
    sizes = np.array([T, N, C, blank, most, beam, nbest, _threads(log_probs)], np.int64)
    numbers = np.array([least, insertion])
    _library(log_probs.dtype.name).prefix_beam(*map(_address, (log_probs, sizes, lengths, numbers, *found)))
    return found


def best_paths(
    log_probs: np.ndarray,
    lengths: np.ndarray,
    *,
    blank: int,
    rows: np.ndarray,
    begins: np.ndarray,
    symbols: np.ndarray,
) -> BestPaths:
    """The best paths of texts, each on the line that `rows [M]` says; see `decoding.ctc.align`.

    The symbols of all texts stand one behind the other in `symbols [U]`, those of text `m` from `begins[m]` on; the
    last of `begins [M + 1]` is `U`.
    """
    T, N, C = log_probs.shape
    U, M = len(symbols), len(rows)
    found = BestPaths(np.empty((U, 2), np.int64), np.empty(U), np.empty(M))
    sizes = np.array([T, N, C, blank, M, _threads(log_probs)], np.int64)
    arrays = log_probs, sizes, lengths, rows, begins, symbols, *found
    _library(log_probs.dtype.name).best_paths(*map(_address, arrays))
    return found


@functools.cache
def _library(dtype: str) -> ctypes.CDLL:
    library = load(build(_TEXT, extra_flags=(f"-DGATEFLOW_REAL={_REALS[dtype]}",)))
    for function, count in ((library.prefix_beam, 8), (library.best_paths, 9)):
        function.argtypes, function.restype = [ctypes.c_void_p] * count, None
    return library


def _threads(log_probs: np.ndarray) -> int:
    return torch.get_num_threads() if log_probs.size > _WORTH_THREADS else 1


def _address(array: np.ndarray) -> int:
    # What C++ reads as numbers side by side must lie so.
    assert array.flags.c_contiguous
    return array.ctypes.data

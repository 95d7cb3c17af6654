"""Who multiplies large matrices in bfloat16 on this machine: measured once, and kept with the kernels.

mkl        MKL's product of bfloat16 into float32, a tile at a time
own        that of `native/paired.h`, by VDPBF16PS
float32    the rounded factors as float32, multiplied by torch's BLAS

All sum the same products, which are exact in float32, in different orders: the last bits differ, so a run that goes on
must go on with the same. A name does not tell which is fast: MKL's is four times as fast as float32 on Intel's AMX, and
no faster on AMD.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gateflow.backends.cache import kept
from gateflow.backends.cpu.build import build, load, processor_key
from gateflow.backends.cpu.gemm import Gemms, blas
from gateflow.backends.cpu.toolchain import cpu_flags
from gateflow.errors import BuildError, RunWarning

__all__ = ["available", "chosen", "factor", "fastest", "forced", "go_on_with", "in_use"]

SIZE = 512, 512, 1024
"""Rows, columns and depth of the product that is measured: the gradient of weights from one chunk of steps."""
ROUNDS = 7
"""Each is measured in turn, and its fastest time counts: whatever else the machine does only adds to it."""

TRIAL = """// One large product on one thread, by which gateflow finds out who multiplies bfloat16 fastest.
#include "gemm.h"

extern "C" __attribute__((visibility("default")))
void multiply(const gateflow::Gemm<float>* gemm, const gateflow::Blas<float>* blas) {
    const gateflow::OneThread<float> limit{*blas};
    for (int64_t tile = 0; tile < gemm->tiles(); ++tile) multiply_tile(*gemm, tile, *blas);
}
"""

_resumed: list[str] = []
"""At most one, that of a checkpoint."""
_forced: list[str] = []
"""The last one counts, before all others."""


def available() -> tuple[str, ...]:
    """Those that this machine has, the one without conditions last.

    Example:
        >>> available()[-1]
        'float32'
    """
    # Without units for bfloat16 our own takes two multiply-adds and shifts for what float32 has in two.
    found = {"mkl": blas(torch.float32)[2] != 0, "own": "avx512_bf16" in cpu_flags(), "float32": True}
    return tuple(name for name, there in found.items() if there)


def chosen() -> str:
    """The one that multiplies, measured at its first use on this machine.

    Example:
        >>> chosen() in available()
        True
    """
    return _set() or _measured()


def in_use() -> str | None:
    """The one that has multiplied in this process, or is set to; none as long as it is not known."""
    return _set() or (_measured() if _measured.cache_info().currsize else None)


def go_on_with(name: str | None) -> None:
    """Multiplies as the run of a checkpoint did; none for what is fastest here.

    Warns:
        RunWarning: This machine does not have it, so that the last bits will differ.
    """
    _resumed[:] = [name] if name in available() else []
    if name is not None and not _resumed:
        here = ", ".join(available())
        warnings.warn(
            f"the checkpoint's products in bfloat16 were made by {name[:40]!r}, which this machine does not have (it "
            f"has {here}): the run goes on, but not to the bit.",
            RunWarning,
            stacklevel=2,
        )


@contextmanager
def forced(name: str) -> Iterator[None]:
    """One of those that are available, for as long as this lasts.

    Raises:
        ValueError: It is not available here.
    """
    if name not in available():
        raise ValueError(f"{name!r} does not multiply bfloat16 here; there are {', '.join(available())}.")
    _forced.append(name)
    try:
        yield
    finally:
        _forced.pop()


def factor(matrix: Tensor, name: str) -> Tensor:
    """A factor of a product, rounded to bfloat16, as this one reads it."""
    rounded = matrix.bfloat16()
    return rounded.to(matrix.dtype) if name == "float32" else rounded


def _set() -> str | None:
    return next(iter([*_forced[-1:], *_resumed]), None)


@functools.cache
def _measured() -> str:
    names = available()
    if len(names) == 1:
        return names[0]
    key = hashlib.sha256("\0".join([TRIAL, *names, *processor_key()]).encode()).hexdigest()
    return kept(key, names, fastest)


def fastest() -> str:
    """The one with the smallest of some times; the first where there is no compiler to measure with."""
    names = available()
    try:
        multiply = load(build(TRIAL)).multiply
    except BuildError:
        return names[0]
    multiply.argtypes, multiply.restype = [ctypes.c_void_p] * 2, None
    rows, columns, depth = SIZE
    to, left, right = torch.zeros(rows, columns), torch.ones(depth, rows), torch.ones(depth, columns)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, taken in times.items():
            begin = time.perf_counter()
            gemms = Gemms(torch.float32, name)
            gemms.add(to, factor(left, name), factor(right, name), transposed=True, fresh=True)
            numbers = gemms.listed()
            multiply(numbers.buffer_info()[0], gemms.blas.buffer_info()[0])
            taken.append(time.perf_counter() - begin)
    return min(times, key=lambda name: min(times[name]))

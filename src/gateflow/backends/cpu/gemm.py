"""The large products that follow a loop, `to += left @ right`, many at once on the BLAS that torch has loaded.

One product of torch after the other would make all threads wait for the slowest each time, and its result depend on
how many there are; see `native/gemm.h`.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["Gemms", "blas"]

# `recurrence.h` asserts that its `Gemm` has as many.
FIELDS = 13
"""Numbers that describe a product, as in `gemm.h`."""
WORTH_THREADS = 1 << 25
"""Multiplications from which on the start of threads is worth it."""

# By the names of Fortran, which every BLAS has.
_NAMES = {torch.float32: "sgemm_", torch.float64: "dgemm_"}


class Gemms:
    """Products that are collected, to run together after a loop.

    Those of one phase run at the same time and must write to different places; a later phase waits for the earlier.
    """

    def __init__(self, dtype: torch.dtype, multiplier: str = "mkl"):
        # One of `multiplier.py`: without MKL's product in the list, `gemm.h` makes those of bfloat16 itself.
        self.blas = array("q", [*blas(dtype)[:2], 0]) if multiplier == "own" else blas(dtype)
        self._phases, self._held, self._work = defaultdict[int, array](lambda: array("q")), list[Tensor](), 0

    def add(
        self,
        to: Tensor,
        left: Tensor,
        right: Tensor,
        *,
        phase: int = 0,
        transposed: bool = False,
        fresh: bool = False,
    ) -> None:
        """Collects `to += left @ right`, if `transposed` `to += left.T @ right`; `fresh` writes instead of adding.

        Rows of `to` and `left` must lie without gaps between their numbers. `left` and `right` may be in bfloat16 if
        `to` is in float32.
        """
        right = _with_own_rows(right)
        (rows, columns), depth = to.shape, right.shape[0]
        pointers, strides = [t.data_ptr() for t in (to, left, right)], [_stride(t) for t in (to, left, right)]
        self._phases[phase].extend([*pointers, *strides, rows, columns, depth, transposed, fresh, phase])
        self._phases[phase].append(left.dtype != to.dtype)
        # Until the products have run: `gemm.h` has addresses alone.
        self._held += to, left, right
        self._work += rows * columns * depth

    def listed(self) -> array:
        """The products as `native/gemm.h` reads them, by their phases."""
        listed = array("q")
        for _, numbers in sorted(self._phases.items()):
            listed.extend(numbers)
        return listed

    def __len__(self) -> int:
        return sum(map(len, self._phases.values())) // FIELDS

    @property
    def threads(self) -> int:
        """How many threads they are worth."""
        return torch.get_num_threads() if self._work > WORTH_THREADS else 1


@functools.cache
def blas(dtype: torch.dtype) -> array:
    """Addresses of torch's own matrix product, of what sets MKL's threads for one thread, and of MKL's product of
    bfloat16 into float32; 0 where there is none.
    """
    library = _torch_library()
    names = _NAMES[dtype], "MKL_Set_Num_Threads_Local", "gemm_bf16bf16f32_"
    found = [getattr(library, name, None) for name in names]
    return array("q", [0 if f is None else ctypes.cast(f, ctypes.c_void_p).value or 0 for f in found])


def _torch_library() -> ctypes.CDLL | None:
    for path in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        # It is loaded already: this finds the very BLAS that torch uses, and loads no second one.
        return ctypes.CDLL(str(path))
    return None


def _with_own_rows(matrix: Tensor) -> Tensor:
    """An expanded matrix has one row for all, which no BLAS takes."""
    return matrix if matrix.shape[0] == 1 or matrix.stride(0) >= matrix.shape[1] else matrix.contiguous()


def _stride(matrix: Tensor) -> int:
    # A matrix of one row may have any stride; a BLAS refuses one that is smaller than the row.
    return max(matrix.stride(0), matrix.shape[1])

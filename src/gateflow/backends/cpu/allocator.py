"""Blocks: memory for what the kernels alone see, kept for the next run when it is free.

A page that comes new from the system costs as much as ten thousand multiplications. A training step that gives its
memory back and asks for it again may spend a third of its time there.
"""

from __future__ import annotations

import mmap
import sys
import weakref
from collections import defaultdict

import torch
from torch import Tensor

__all__ = ["empty"]

LARGE = 1 << 17
"""Bytes from which on torch's allocator may give memory back to the system."""
# Why it is kept: new pages took a quarter of an LSTM's training step (32/100/128/128). A buffer for each layer would
# stay while the layer is idle; settings of the C library are the user's.
KEPT = 1 << 30
"""Bytes that wait for the next run at most."""
HUGE_PAGE = 1 << 21

_free: dict[int, list[mmap.mmap]] = defaultdict(list)


def empty(lines: int, columns: int, dtype: torch.dtype) -> Tensor:
    """A matrix of any content, as `torch.empty` makes it.

    Example:
        >>> empty(1000, 100, torch.float32).shape
        torch.Size([1000, 100])
    """
    size = lines * columns * dtype.itemsize
    if size < LARGE or sys.platform == "win32":
        return torch.empty(lines, columns, dtype=dtype)
    block = _block(size)
    view = memoryview(block)  # lives as long as the tensor's memory is in use
    # Not at exit: then the system takes all memory back by itself.
    weakref.finalize(view, _give_back, block).atexit = False
    tensor = torch.frombuffer(view, dtype=dtype, count=lines * columns).view(lines, columns)
    # As `torch.empty` does when asked to (`test_what_is_undefined_is_nan_where_torch_is_asked_for_that`).
    return tensor.fill_(torch.nan) if _undefined_is_nan() else tensor


def _undefined_is_nan() -> bool:
    setting = torch.utils.deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    return setting and torch.are_deterministic_algorithms_enabled()


def _block(size: int) -> mmap.mmap:
    step = 1 << size.bit_length() - 3  # so that lengths that differ a little find each other's blocks
    # A step is at most a quarter of the size, so less than that is wasted.
    size = -(-size // step) * step
    try:
        return _free[size].pop()
    # Not asked before: another thread may take the last one in between.
    except IndexError:
        # Private, so that a child process writes to memory of its own (`test_a_child_process_has_memory_of_its_own`).
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE") and size >= HUGE_PAGE:
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _give_back(block: mmap.mmap) -> None:
    if sum(size * len(blocks) for size, blocks in _free.items()) > KEPT:
        _free.clear()
    _free[len(block)].append(block)

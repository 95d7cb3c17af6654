"""Settings of the whole process that make training fast on a CPU; a program makes them before all other work."""

from __future__ import annotations

import ctypes

import torch

# Parameters of glibc's ``mallopt``.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def prepare_process() -> None:
    """Flush subnormal numbers to zero, and keep freed memory for the next update."""
    flush_subnormals()
    keep_freed_memory()


def flush_subnormals() -> None:
    """Vanishing gradients become subnormal numbers, on which a processor takes ten times as long as on zeros.

    Each thread of torch takes this over from the one that starts it.
    """
    # False where the processor cannot; nothing else changes then.
    torch.set_flush_denormal(True)


def keep_freed_memory() -> bool:
    """Every update needs the same large tensors; glibc would fetch them from the system page by page each time.

    With a vocabulary of 33 000 words this takes a quarter off each update. Where the C library is another one,
    nothing happens, and the answer is false.
    """
    # Of the C library that this process has loaded; musl and macOS have no such function.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # 0: no memory by mmap, whose pages go back to the system when it is freed. 2³¹ - 1: the heap is not trimmed.
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))

"""How a recurrence is divided among threads: by samples, and by units where there are too few samples."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gateflow.backends.cpu.kernel import GROUP
from gateflow.compiler.node import Sizes
from gateflow.compiler.plan import Plan

__all__ = ["partition"]

# Six rows of an LSTM's four gates fill the registers of AVX-512 (`tile_sums` of `product.h`).
FULL_TILE = 6
"""Samples per thread from which on the product runs at full speed, if the weights stay in the cache of a core."""

FEW = 24
"""Below this many samples a thread, weights larger than that cache are divided: each thread reads a part of them."""

# 2 MB of float32, about the second-level cache of a core: from beyond it a core reads only 30 GB/s (speed.md).
CACHE = 1 << 19
"""Numbers of weights that stay in the cache of a core."""

WORTH_A_BARRIER = 1 << 18
"""Multiplications per step from which on two threads save more than their meeting costs (about a microsecond)."""


def partition(begins: Sequence[int], samples: int, sizes: Mapping[str, int], plan: Plan) -> tuple[int, Tensor | None]:
    """How many threads run a plan, and the samples at which their parts begin; none if they divide the units."""
    # Bounds of equal lengths are remembered, those of ragged ones differ from batch to batch.
    even = begins[-1] == samples * (len(begins) - 1)
    threads, units, together = _threads(plan, samples, tuple(sizes.items()), torch.get_num_threads())
    if units:
        return threads, None
    if even or threads == 1:
        return threads, _even_bounds(samples, threads, together)
    return threads, _bounds(begins, samples, threads, together)


@functools.lru_cache(maxsize=256)
def _threads(plan: Plan, samples: int, widths: tuple[tuple[str, int], ...], threads: int) -> tuple[int, bool, int]:
    """How many threads, whether they divide the units, and how many samples stay together otherwise."""
    # A group of samples whose gradients are summed together must not be divided, or bits would depend on threads.
    sizes, together = Sizes(widths), GROUP if plan.parameters else 1
    weights = sum(_weights(p.terms, p.width, sizes) for p in plan.passes if not p.ahead)
    if threads > 1 and samples < threads * (FULL_TILE if weights <= CACHE else FEW):
        if samples * weights < WORTH_A_BARRIER:
            return 1, False, together
        # 16 units fill a vector of AVX-512; each thread has two of them or more.
        if _units_can_be_divided(plan) and sizes["H"] // 16 >= 2 * threads:
            return threads, True, together
    return max(1, min(threads, -(-samples // 4))), False, together


def _units_can_be_divided(plan: Plan) -> bool:
    """What needs other units of a row would have to wait for them, and a row of another width has other owners."""
    return not plan.crosses_units and {p.width for p in plan.passes} == {"H"}


def _weights(terms: Sequence, width: str, sizes: Mapping[str, int]) -> int:
    return sum(sizes[width] * term.count * sum(sizes[c] for c in term.columns) for term in terms)


@functools.lru_cache(maxsize=64)
def _even_bounds(samples: int, threads: int, together: int) -> Tensor:
    """Parts of about the same number of samples, a multiple of those whose sums go together."""
    return torch.tensor([*(round(samples * k / threads / together) * together for k in range(threads)), samples])


def _bounds(begins: Sequence[int], samples: int, threads: int, together: int) -> Tensor:
    """Parts of about the same number of lines, where the samples differ in length."""
    counts = torch.tensor(begins[1:]) - torch.tensor(begins[:-1])
    lengths = (counts[None] > torch.arange(samples)[:, None]).sum(1).cumsum(0)
    goals = lengths[-1] * torch.arange(1, threads) / threads
    cuts = (torch.searchsorted(lengths, goals) + together // 2) // together * together
    return torch.cat([torch.tensor([0]), cuts.clamp(max=samples), torch.tensor([samples])])

"""How threads share out a recurrence: samples first, units when there are too few samples."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gateflow.compiler.plan import Plan

__all__ = ["shares"]

FULL_TILE = 6
"""Samples per thread from which on the matrix product runs at full speed."""

WORTH_A_BARRIER = 1 << 18
"""Multiplications per step from which on two threads save more than their meeting costs (about a microsecond)."""


def shares(begins: Sequence[int], samples: int, sizes: Mapping[str, int], plan: Plan) -> tuple[int, Tensor | None]:
    """How many threads run a plan, and the samples at which their shares begin; none if they share out units."""
    threads = torch.get_num_threads()
    if samples < FULL_TILE * threads and threads > 1:
        work = samples * sum(_work(p.terms, p.width, sizes) for p in plan.passes if not p.ahead)
        if work < WORTH_A_BARRIER:
            threads = 1
        elif _units_can_be_shared(plan) and sizes["H"] // 16 >= 2 * threads:
            return threads, None
    threads = max(1, min(threads, -(-samples // 4)))
    if threads == 1 or begins[-1] == samples * (len(begins) - 1):
        return threads, _even_bounds(samples, threads)
    return threads, _bounds(begins, samples, threads)


def _units_can_be_shared(plan: Plan) -> bool:
    """Means need whole rows, and a row of another width has other owners of its units."""
    return not plan.has_means and {p.width for p in plan.passes} == {"H"}


def _work(terms: Sequence, width: str, sizes: Mapping[str, int]) -> int:
    return sum(sizes[width] * term.count * sum(sizes[c] for c in term.columns) for term in terms)


@functools.lru_cache(maxsize=64)
def _even_bounds(samples: int, threads: int) -> Tensor:
    """Shares of about the same number of samples, a multiple of 4: those whose sums go together."""
    return torch.tensor([*(round(samples * k / threads / 4) * 4 for k in range(threads)), samples])


def _bounds(begins: Sequence[int], samples: int, threads: int) -> Tensor:
    """Shares of about the same number of lines, where the samples differ in length."""
    counts = torch.tensor(begins[1:]) - torch.tensor(begins[:-1])
    lengths = (counts[None] > torch.arange(samples)[:, None]).sum(1).cumsum(0)
    goals = lengths[-1] * torch.arange(1, threads) / threads
    cuts = (torch.searchsorted(lengths, goals) + 2) // 4 * 4
    return torch.cat([torch.tensor([0]), cuts.clamp(max=samples), torch.tensor([samples])])

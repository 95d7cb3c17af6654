"""How threads share out a recurrence: samples first, units when there are too few samples."""

from __future__ import annotations

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
    by_samples = max(1, min(threads, -(-samples // 4)))
    if samples >= FULL_TILE * threads or not _units_can_be_shared(plan):
        return by_samples, _bounds(begins, samples, by_samples)
    work = samples * sum(_work(p.terms, p.width, sizes) for p in plan.passes)
    blocks = sizes["H"] // 16
    if work < WORTH_A_BARRIER or blocks < 2 * threads:
        return (
            (1, _bounds(begins, samples, 1))
            if work < WORTH_A_BARRIER
            else (by_samples, _bounds(begins, samples, by_samples))
        )
    return threads, None


def _units_can_be_shared(plan: Plan) -> bool:
    """Means need whole rows, and a row of another width has other owners of its units."""
    return not plan.has_means and {p.width for p in plan.passes} == {"H"}


def _work(terms: Sequence, width: str, sizes: Mapping[str, int]) -> int:
    return sum(sizes[width] * term.count * sum(sizes[c] for c in term.columns) for term in terms)


def _bounds(begins: Sequence[int], samples: int, threads: int) -> Tensor:
    """Shares of about the same number of lines. They begin at multiples of 4, the samples whose sums go together."""
    steps = len(begins) - 1
    if threads == 1 or begins[-1] == samples * steps:
        cuts = [round(samples * k / threads / 4) * 4 for k in range(threads)]
        return torch.tensor([*cuts, samples])
    counts = torch.tensor(begins[1:]) - torch.tensor(begins[:-1])
    lengths = (counts[None] > torch.arange(samples)[:, None]).sum(1).cumsum(0)
    goals = lengths[-1] * torch.arange(1, threads) / threads
    cuts = (torch.searchsorted(lengths, goals) + 2) // 4 * 4
    return torch.cat([torch.tensor([0]), cuts.clamp(max=samples), torch.tensor([samples])])

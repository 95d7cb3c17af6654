"""How a recurrence is divided among threads: into groups of samples, and the units of a group into parts.

Groups run on their own. The threads of one group meet at each product that reads what the others have written, and
fetch it from their caches. Few groups leave each thread the weights of few units to read; many have fewer meetings.
What a step takes either way is estimated, in multiplications that a core could do meanwhile, and the least is chosen.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gateflow.compiler.node import Sizes
from gateflow.compiler.plan import Pass, Plan

__all__ = ["GROUP", "Partition", "divided", "partition"]

GROUP = 4
"""Samples whose gradients of a vector are summed together, whatever the threads: as in `recurrence.h`."""

# 2 MB of float32, about the second-level cache of a core: from beyond it a core reads only 30 GB/s (speed.md).
CACHE = 1 << 19
"""Numbers of weights that stay in the cache of a core."""

FEW_CACHED, FEW = 3, 24
"""A thread with fewer rows than this waits for its weights: such as stay in that cache, and such as do not."""

POINT = 300
"""For the equations of a unit: ten cycles of two vectors of products each; exp and tanh are most of it."""

MEETING, EACH = 3 << 16, 1 << 14
"""For a meeting of threads, about two microseconds, and for each of them."""

FETCH = 60
"""For a number that another core has written: a line of the cache in thirty cycles."""

WORTH_A_TEAM = 1 << 24
"""Of a call, some 0.3 ms: for less, waiting for a team costs more than it saves once other processes want cores."""

UNITS = 16
"""Units that fill a vector of AVX-512: no part has less."""


class Partition(NamedTuple):
    """Groups of samples, how many threads divide the units of each, and where groups begin; none if one has all."""

    groups: int = 1
    parts: int = 1
    bounds: Tensor | None = None


def partition(begins: Sequence[int], samples: int, sizes: Mapping[str, int], plan: Plan) -> Partition:
    """How threads divide a run of a plan over steps that begin at these lines."""
    widths, threads = tuple(sizes.items()), torch.get_num_threads()
    if threads == 1 or not _worth_a_team(plan, widths, samples, len(begins) - 1):
        return Partition()
    return divided(*_cheapest(plan, widths, samples, threads), begins, samples, sizes, plan)


def divided(
    groups: int, parts: int, begins: Sequence[int], samples: int, sizes: Mapping[str, int], plan: Plan
) -> Partition:
    """A run in as many groups, and as many parts of each as `plan` and `sizes` let units be divided into."""
    parts = min(parts, _most_parts(plan, sizes))
    if groups == 1:
        return Partition(1, parts)
    together = _together(plan)
    # Bounds of equal lengths are remembered, those of ragged ones differ from batch to batch.
    if begins[-1] == samples * (len(begins) - 1):
        return Partition(groups, parts, _even_bounds(samples, groups, together))
    return Partition(groups, parts, _bounds(begins, samples, groups, together))


@functools.lru_cache(maxsize=1024)
def _worth_a_team(plan: Plan, widths: tuple[tuple[str, int], ...], samples: int, steps: int) -> bool:
    sizes = Sizes(widths)
    ahead = sum(_weights(p, sizes) for p in plan.passes if p.ahead)
    return steps * (_cost(plan, sizes, samples, 1, 1) + max(samples, _few(ahead) / steps) * ahead) > WORTH_A_TEAM


@functools.lru_cache(maxsize=1024)
def _cheapest(plan: Plan, widths: tuple[tuple[str, int], ...], samples: int, threads: int) -> tuple[int, int]:
    """How many groups, and parts of each."""
    sizes = Sizes(widths)
    parts = range(1, min(threads, _most_parts(plan, sizes)) + 1)
    ways = [(g, p) for p in parts for g in range(1, min(threads // p, samples) + 1)]
    # Of ways that cost the same the one of fewest threads, which leaves cores to others.
    return min(ways, key=lambda way: (_cost(plan, sizes, samples, *way), way[0] * way[1]), default=(1, 1))


def _cost(plan: Plan, sizes: Mapping[str, int], samples: int, groups: int, parts: int) -> float:
    """Of a step, what does not run ahead of it, for the thread that has most to do."""
    each, cost = _together(plan), 0.0
    rows, blocks = -(-samples // (groups * each)) * each, -(-sizes["H"] // UNITS)
    share = -(-blocks // parts) / blocks
    weights = share * sum(_weights(p, sizes) for p in plan.passes if not p.ahead)
    for p in plan.passes:
        if not p.ahead:
            cost += max(rows, _few(weights)) * share * _weights(p, sizes) + rows * share * sizes[p.width] * POINT
            if parts > 1 and p.terms:
                cost += MEETING + EACH * parts + FETCH * rows * (1 - share) * sum(sizes[width] for width in _columns(p))
    return cost


def _few(weights: float) -> int:
    return FEW_CACHED if weights <= CACHE else FEW


def _together(plan: Plan) -> int:
    """Samples that stay in one group."""
    # Those whose gradients are summed together must not be divided, or bits would depend on threads.
    return GROUP if plan.parameters else 1


def _most_parts(plan: Plan, sizes: Mapping[str, int]) -> int:
    # What needs other units of a row would have to wait for them, and a row of another width has other owners.
    whole = plan.crosses_units or {p.width for p in plan.passes} != {"H"}
    return 1 if whole else -(-sizes["H"] // UNITS)


def _weights(p: Pass, sizes: Mapping[str, int]) -> int:
    return sum(sizes[p.width] * term.count * sum(sizes[c] for c in term.columns) for term in p.terms)


def _columns(p: Pass) -> list[str]:
    """What its products read, number by number."""
    return [width for term in p.terms for width in term.columns]


@functools.lru_cache(maxsize=64)
def _even_bounds(samples: int, groups: int, together: int) -> Tensor:
    """Groups of about the same number of samples, a multiple of those whose sums go together."""
    return torch.tensor([*(round(samples * k / groups / together) * together for k in range(groups)), samples])


def _bounds(begins: Sequence[int], samples: int, groups: int, together: int) -> Tensor:
    """Groups of about the same number of lines, where the samples differ in length."""
    counts = torch.tensor(begins[1:]) - torch.tensor(begins[:-1])
    lengths = (counts[None] > torch.arange(samples)[:, None]).sum(1).cumsum(0)
    goals = lengths[-1] * torch.arange(1, groups) / groups
    cuts = (torch.searchsorted(lengths, goals) + together // 2) // together * together
    return torch.cat([torch.tensor([0]), cuts.clamp(max=samples), torch.tensor([samples])])

"""Weights as the blocks of a replica read them: for each block and product `[depth][unit][sum]`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.backends.cuda.grid import Grid
from gateflow.compiler.node import Weight
from gateflow.compiler.plan import Term

__all__ = ["matrix", "packed"]


def packed(grid: Grid, weights: Mapping[str, Tensor], *, rounded: bool) -> Tensor:
    """The weights of all products, `[blocks, numbers]`.

    Args:
        grid: which units a block owns.
        weights: by name.
        rounded: whether they are rounded to bfloat16.
    """
    pieces = [
        _of_blocks(grid, term, weights, grid.share(each.width)) for each in grid.exchange.passes for term in each.terms
    ]
    if not pieces:
        return next(iter(weights.values())).new_empty(0)
    joined = torch.cat(pieces, 1)
    return joined.bfloat16().float() if rounded else joined


def matrix(weight: Weight, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    """A block of rows of a weight, transposed if it is used so: `[results, depth]`."""
    rows = sizes[weight.rows]
    block = weights[weight.name][weight.block * rows : (weight.block + 1) * rows]
    return block.T if weight.transposed else block


def _of_blocks(grid: Grid, term: Term, weights: Mapping[str, Tensor], share: int) -> Tensor:
    """`[blocks, depth · units · sums]`; zeros for units beyond the last."""
    blocks = [torch.stack([matrix(w, weights, grid.sizes) for w in each], 1) for each in term.weights]
    whole = torch.cat(blocks, 2)  # [units, sums, depth]
    units, sums, depth = whole.shape
    whole = F.pad(whole, (0, 0, 0, 0, 0, grid.blocks * share - units))
    return whole.view(grid.blocks, share, sums, depth).permute(0, 3, 1, 2).reshape(grid.blocks, -1)

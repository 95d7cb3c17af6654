"""Weights as the blocks of a replica read them: for each block and product `[depth][unit][sum]`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.backends.cuda.grid import CHUNK, Grid
from gateflow.compiler.node import Weight
from gateflow.compiler.plan import Term

__all__ = ["Packing", "matrix"]


class Packing:
    """The order in which blocks read weights; one gathering puts those of a run into it.

    Args:
        grid: which units a block owns.
        weights: the weights of a run, by name.
    """

    def __init__(self, grid: Grid, weights: Mapping[str, Tensor]):
        exchange, begin = grid.exchange, 1  # place 0 is that of the zero which stands for what is not there
        self.names = list(dict.fromkeys(w.name for p in exchange.passes for t in p.terms for b in t.weights for w in b))
        places = dict[str, Tensor]()
        for name in self.names:
            like = weights[name]
            places[name] = torch.arange(begin, begin + like.numel(), dtype=torch.int32, device=like.device).view(
                like.shape
            )
            begin += like.numel()
        pieces = [
            _of_blocks(grid, term, places, grid.share(each.width)) for each in exchange.passes for term in each.terms
        ]
        self.order = torch.cat(pieces, 1).flatten() if pieces else None
        self.matrix_units = grid.matrix_units

    def packed(self, weights: Mapping[str, Tensor], *, rounded: bool) -> Tensor:
        """The weights of all products, block by block; rounded to bfloat16 if asked."""
        like = next(iter(weights.values()))
        if self.order is None:
            return like.new_empty(0)
        flat = torch.cat([like.new_zeros(1), *(weights[name].flatten() for name in self.names)])
        if rounded:
            flat = flat.bfloat16() if self.matrix_units else flat.bfloat16().float()
        return flat.index_select(0, self.order)


def matrix(weight: Weight, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    """A block of rows of a weight, transposed if it is used so: `[results, depth]`."""
    rows = sizes[weight.rows]
    block = weights[weight.name][weight.block * rows : (weight.block + 1) * rows]
    return block.T if weight.transposed else block


def _of_blocks(grid: Grid, term: Term, weights: Mapping[str, Tensor], share: int) -> Tensor:
    """`[blocks, numbers]`; zeros for units beyond the last."""
    blocks = [
        F.pad(
            torch.stack([matrix(w, weights, grid.sizes) for w in each], 1), (0, grid.length(width) - grid.sizes[width])
        )
        for each, width in zip(term.weights, term.columns, strict=True)
    ]
    whole = torch.cat(blocks, 2)  # [units, sums, depth]
    units, sums, depth = whole.shape
    whole = F.pad(whole, (0, 0, 0, 0, 0, grid.blocks * share - units)).view(grid.blocks, share * sums, depth)
    if not grid.matrix_units:
        return whole.transpose(1, 2).reshape(grid.blocks, -1)
    whole = F.pad(whole, (0, -depth % CHUNK, 0, -(share * sums) % 16))
    # [block, tile, half of its rows, row, 32 columns, quarter, half, half, number] becomes what each lane of a warp has
    # of a tile in its registers, see `product_matrix.cuh`.
    places = whole.view(grid.blocks, whole.shape[1] // 16, 2, 8, whole.shape[2] // CHUNK, 4, 2, 2, 2)
    return places.permute(0, 4, 6, 1, 3, 5, 7, 2, 8).reshape(grid.blocks, -1)

"""Which large products give the gradients of a cell's weights from what the backward loop has left of each step.

dW = Σ_t δ_tᵀ s_t: for each weight one product over many steps, of the gradients δ of its results and its operands s
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from gateflow.compiler.compiled_cell import CompiledCell
from gateflow.compiler.node import Sizes, Weight
from gateflow.compiler.plan import Row

__all__ = ["WeightProduct", "WeightProducts", "weight_products"]


@dataclass
class WeightProduct:
    """Adjacent blocks of one weight whose gradients of results lie side by side: one matrix product.

    Attributes:
        weight: the first block.
        rows: its and the other blocks' rows of the weight.
        columns: where the gradients of results lie.
        operand: where what the weight was applied to lies.
        phase: products that have rows of the weight in common add to them in different phases, one after the other.
    """

    weight: Weight
    rows: slice
    columns: slice
    operand: Row
    phase: int = 0

    def goes_on_with(self, other: WeightProduct) -> bool:
        """Whether the other one continues this one, in the weight and in the gradients."""
        same = self.weight.name == other.weight.name and self.operand == other.operand
        return same and self.rows.stop == other.rows.start and self.columns.stop == other.columns.start

    def meets(self, other: WeightProduct) -> bool:
        """Whether both have a row in common."""
        first, last = max(self.rows.start, other.rows.start), min(self.rows.stop, other.rows.stop)
        return self.weight.name == other.weight.name and first < last


@dataclass(frozen=True)
class WeightProducts:
    """The products of a cell.

    Attributes:
        all: in the order in which the loop leaves the gradients.
        of_input: those that give the gradient of the input as well.
        covered: weights of which every row is written in the first phase, so that they need not be zero before.
    """

    all: list[WeightProduct]
    of_input: list[WeightProduct]
    covered: frozenset[str]


def weight_products(cell: CompiledCell, sizes: Mapping[str, int]) -> WeightProducts:
    """The products of a cell whose rows have these sizes."""
    return _weight_products(cell, tuple(sizes.items()))


# Asked for at every backward pass of a small layer, most of whose time is Python's (docs/concepts/speed.md).
@functools.cache
def _weight_products(cell: CompiledCell, widths: tuple[tuple[str, int], ...]) -> WeightProducts:
    products, storage, sizes = list[WeightProduct](), cell.storage, Sizes(widths)
    for delta in storage.backward_graph.deltas:
        row, height, block = storage.delta_row(delta), sizes[delta.weight.rows], delta.weight.block
        columns = slice(row.begin(sizes), row.begin(sizes) + sizes[row.width])
        rows = slice(block * height, (block + 1) * height)
        product = WeightProduct(delta.weight, rows, columns, storage.operand_row(delta))
        # All gates of a cell are then one product instead of one each.
        if products and products[-1].goes_on_with(product):
            last = products[-1]
            last.rows, last.columns = slice(last.rows.start, rows.stop), slice(last.columns.start, columns.stop)
        else:
            products.append(product)
    for k, product in enumerate(products):
        # Products of one phase run at the same time and must not write to the same rows (`native/gemm.h`).
        product.phase = max((p.phase + 1 for p in products[:k] if product.meets(p)), default=0)
    heights = {name: blocks * sizes[width] for name, ((blocks, width), *_) in cell.weights.items()}
    # Writing saves filling with zeros first, which torch does with a team of threads of its own.
    covered = {name for name, height in heights.items() if _height(products, name) == height}
    return WeightProducts(products, [p for p in products if p.operand.tensor == "x"], frozenset(covered))


def _height(products: list[WeightProduct], name: str) -> int:
    """How many rows of a weight, or of a bias, the products of the first phase write."""
    of_name = (p for p in products if name in (p.weight.name, p.weight.bias) and p.phase == 0)
    return sum(p.rows.stop - p.rows.start for p in of_name)

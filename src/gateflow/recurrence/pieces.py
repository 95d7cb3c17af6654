"""Which large products give the gradients of a cell's weights from what its loop has left of each step."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from gateflow.compiler.compiled_cell import CompiledCell
from gateflow.compiler.graph import Weight
from gateflow.compiler.plan import Row

__all__ = ["Piece", "Pieces", "pieces_of"]


@dataclass
class Piece:
    """Adjacent blocks of one weight whose gradients of results lie side by side: one matrix product.

    Attributes:
        weight: the first block.
        rows: its and the other blocks' rows of the weight.
        columns: where the gradients of results lie.
        operand: where what the weight was applied to lies.
        turn: pieces that have rows in common have different turns.
    """

    weight: Weight
    rows: slice
    columns: slice
    operand: Row
    turn: int = 0

    def goes_on_with(self, other: Piece) -> bool:
        """Whether the other one continues this one, in the weight and in the gradients."""
        same = self.weight.name == other.weight.name and self.operand == other.operand
        return same and self.rows.stop == other.rows.start and self.columns.stop == other.columns.start

    def meets(self, other: Piece) -> bool:
        """Whether both have a row in common."""
        first, last = max(self.rows.start, other.rows.start), min(self.rows.stop, other.rows.stop)
        return self.weight.name == other.weight.name and first < last


@dataclass(frozen=True)
class Pieces:
    """The products of a cell.

    Attributes:
        all: in the order in which the loop leaves the gradients.
        of_input: those that give the gradient of the input as well.
        covered: weights of which every row is in some piece of the first turn.
    """

    all: list[Piece]
    of_input: list[Piece]
    covered: frozenset[str]


def pieces_of(cell: CompiledCell, sizes: Mapping[str, int]) -> Pieces:
    """The products of a cell whose rows have these sizes."""
    return _pieces(cell, tuple(sizes.items()))


@functools.cache
def _pieces(cell: CompiledCell, widths: tuple[tuple[str, int], ...]) -> Pieces:
    pieces, programs, sizes = list[Piece](), cell.programs, dict(widths)
    for delta in programs.backward_graph.deltas:
        row, height, block = programs.delta_row(delta), sizes[delta.weight.rows], delta.weight.block
        columns = slice(row.begin(sizes), row.begin(sizes) + sizes[row.width])
        rows = slice(block * height, (block + 1) * height)
        piece = Piece(delta.weight, rows, columns, programs.operand_row(delta))
        if pieces and pieces[-1].goes_on_with(piece):
            last = pieces[-1]
            last.rows, last.columns = slice(last.rows.start, rows.stop), slice(last.columns.start, columns.stop)
        else:
            pieces.append(piece)
    for k, piece in enumerate(pieces):
        piece.turn = max((p.turn + 1 for p in pieces[:k] if piece.meets(p)), default=0)
    heights = {name: blocks * sizes[width] for name, ((blocks, width), *_) in cell.weights.items()}
    covered = {name for name, height in heights.items() if _height(pieces, name) == height}
    return Pieces(pieces, [p for p in pieces if p.operand.tensor == "x"], frozenset(covered))


def _height(pieces: list[Piece], name: str) -> int:
    return sum(p.rows.stop - p.rows.start for p in pieces if p.weight.name == name and p.turn == 0)

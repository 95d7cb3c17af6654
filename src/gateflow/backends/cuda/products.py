"""The large products outside of the loop: those of the input before it, the gradients of the weights after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gateflow.backends.base import Sequences
from gateflow.backends.cuda.exchange import operands
from gateflow.compiler.node import Weight
from gateflow.compiler.plan import Pass, Plan, Row, Term

__all__ = ["Ahead", "multiply"]


def multiply(a: Tensor, b: Tensor, *, rounded: bool) -> Tensor:
    """`a @ b`, with sums of float32; the factors rounded to bfloat16 if asked."""
    if not rounded:
        return torch.mm(a, b)
    a, b = a.bfloat16(), b.bfloat16()
    return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda else torch.mm(a.float(), b.float())


class Ahead:
    """What runs ahead of all steps, one line per sample and step: large products, worked out once for a cell of a size.

    Args:
        plan: a loop.
        sizes: what the widths of its rows are.
    """

    def __init__(self, plan: Plan, sizes: Mapping[str, int]):
        self.columns = sum(sizes[width] for width in plan.columns("hoisted"))
        self.products = [product for p in plan.passes if p.ahead for product in _products_of(p, sizes)]

    def made(self, run: Sequences) -> Tensor | None:
        """The products of a run; none if nothing runs ahead."""
        if not self.columns:
            return None
        made = run.x.new_empty(run.x.shape[0], self.columns)
        for product in self.products:
            product.make(run, made)
        return made


@dataclass(frozen=True)
class _Product:
    """Sums whose results lie side by side.

    Attributes:
        operands: columns of the input.
        weights: a weight's rows, transposed or not; for each operand and sum, or one piece that has all sums.
        results: columns of what is made.
        biases: of each sum its bias's name and rows, and its columns of what is made.
        adds: whether others have made these results before.
    """

    operands: list[slice]
    weights: list[list[tuple[str, slice, bool]]]
    results: slice
    biases: list[tuple[str, slice, slice]]
    adds: bool

    def make(self, run: Sequences, made: Tensor) -> None:
        x = _joined([run.x[:, columns] for columns in self.operands], 1)
        pieces = [_joined([_piece(run, *piece) for piece in of_sum], 1) for of_sum in self.weights]
        found = multiply(x, _joined(pieces, 0).T, rounded=run.rounded)
        into = made[:, self.results]
        if self.adds:
            into += found
        elif sum(columns.stop - columns.start for _, _, columns in self.biases) == found.shape[1]:
            torch.add(found, _joined([run.weights[name][rows] for name, rows, _ in self.biases], 0), out=into)
        else:
            into.copy_(found)
            for name, rows, columns in self.biases:
                made[:, columns] += run.weights[name][rows]


def _products_of(p: Pass, sizes: Mapping[str, int]) -> Iterator[_Product]:
    rows, begun = dict(p.stores), set[int]()
    biases = {node: (row.tensor.removeprefix("weights."), _columns(row, sizes)) for node, row in p.biases()}
    for term in p.terms:
        for first, last in _together(p, term, sizes):
            nodes = p.products[term.first + first : term.first + last]
            own = [_columns(rows[node], sizes) for node in nodes]
            results, adds = slice(own[0].start, own[-1].stop), own[0].start in begun
            begun.add(results.start)
            added = [(*biases[n], columns) for n, columns in zip(nodes, own, strict=True) if n in biases and not adds]
            inputs = [_columns(row, sizes) for row in operands(term)]
            yield _Product(inputs, _pieces(term, first, last, sizes), results, _merged(added), adds)


def _pieces(term: Term, first: int, last: int, sizes: Mapping[str, int]) -> list[list[tuple[str, slice, bool]]]:
    """The weights of some sums of a term; where they lie below each other already, in one piece."""
    blocks = term.weights[0][first:last]
    begin = blocks[0]
    follow = all(w == replace(begin, block=begin.block + k, bias=w.bias) for k, w in enumerate(blocks))
    if len(term.weights) == 1 and follow and not begin.transposed:
        return [
            [(begin.name, slice(begin.block * sizes[begin.rows], (blocks[-1].block + 1) * sizes[begin.rows]), False)]
        ]

    def piece(w: Weight) -> tuple[str, slice, bool]:
        return w.name, slice(w.block * sizes[w.rows], (w.block + 1) * sizes[w.rows]), w.transposed

    return [[piece(b[k]) for b in term.weights] for k in range(first, last)]


def _merged(biases: list[tuple[str, slice, slice]]) -> list[tuple[str, slice, slice]]:
    """The same with those in one piece that lie side by side in one vector."""
    found = list[tuple[str, slice, slice]]()
    for name, rows, columns in biases:
        last = found[-1] if found else None
        if last and last[0] == name and last[1].stop == rows.start and last[2].stop == columns.start:
            found[-1] = name, slice(last[1].start, rows.stop), slice(last[2].start, columns.stop)
        else:
            found.append((name, rows, columns))
    return found


def _piece(run: Sequences, name: str, rows: slice, transposed: bool) -> Tensor:
    found = run.weights[name][rows]
    return found.T if transposed else found


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _together(p: Pass, term: Term, sizes: Mapping[str, int]) -> list[tuple[int, int]]:
    """Sums of a term whose results lie side by side: one product instead of one each."""
    rows, found = dict(p.stores), list[tuple[int, int]]()
    for k in range(term.count):
        here = _columns(rows[p.products[term.first + k]], sizes)
        # Several terms may add to the same sums, and must then meet the same columns.
        joined = (
            found and len(p.terms) == 1 and _columns(rows[p.products[term.first + k - 1]], sizes).stop == here.start
        )
        found[-1:] = [(found[-1][0], k + 1)] if joined else [*found[-1:], (k, k + 1)]
    return found


def _columns(row: Row, sizes: Mapping[str, int]) -> slice:
    begin = row.begin(sizes)
    return slice(begin, begin + sizes[row.width])

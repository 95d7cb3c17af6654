"""The arguments of a launch: 64-bit numbers, as `native/recurrence.cuh` reads them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gateflow.backends.cuda.grid import NUMBER, Grid
from gateflow.compiler.plan import Kind, Pass, Row, Term

__all__ = ["Lines", "Span", "arguments"]

PATIENCE = 20 * 10**9
"""Nanoseconds that a thread waits for another: a card shared by others, or stopped by a debugger, takes its time."""


class Lines(NamedTuple):
    """A tensor whose lines are the rows of samples at steps.

    `start` are the lines before the first step, one per sample, where the tensor is a state; `copies` the numbers
    between the copies of it that blocks have.
    """

    tensor: Tensor
    start: Tensor | None = None
    copies: int = 0


class Span(NamedTuple):
    """Steps of a run, in either direction."""

    first: int
    iterations: int
    direction: int
    steps: int
    samples: int
    reverse: bool
    offsets: Tensor | None
    rounded: bool


def arguments(
    grid: Grid,
    span: Span,
    tensors: Mapping[str, Lines],
    tape: Tensor,
    weights: Tensor,
    reduced: Tensor | None,
    failure: int,
) -> array[int]:
    """A `Call`. The tensors must outlive the launch."""
    exchange, sizes, parts = grid.exchange, grid.sizes, grid.parts
    columns = grid.total_columns
    numbers = array("q", [span.first, span.iterations, span.direction, span.steps, span.samples, span.reverse])
    numbers.extend([_address(span.offsets), grid.replicas, grid.blocks, grid.groups, span.rounded])
    numbers.extend(
        [_address(tape), columns[-1], grid.operands, _address(reduced), 0 if reduced is None else reduced.shape[2]]
    )
    numbers.extend([_address(weights), grid.weights, parts.stage, parts.partial, parts.sums, parts.gathered])
    numbers.extend([parts.sliced, parts.totals, PATIENCE, failure])
    numbers.extend(sizes[width] for width in exchange.plan.widths)
    numbers.extend(grid.share(width) for width in exchange.plan.widths)
    numbers.extend(columns[:-1] or [0])
    for row in exchange.plan.rows:
        numbers.extend(_place(row, grid, tensors))
    products = [(k, p, term) for k, p in enumerate(exchange.passes) for term in p.terms]
    begin = 0
    for k, p, term in products:
        numbers.extend(_product(k, p, term, begin, grid, tensors))
        begin += grid.weights_of(p, term)
    # Arrays of no elements are not C++.
    numbers.extend([] if products else [0] * 10)
    return numbers


def _place(row: Row, grid: Grid, tensors: Mapping[str, Lines]) -> list[int]:
    if row.kind is Kind.AHEAD and row.tensor not in tensors:
        return [0] * 5
    base, start, stride, copies = _where(row, grid, tensors)
    return [base, start, stride, copies, grid.column(row)]


def _where(row: Row, grid: Grid, tensors: Mapping[str, Lines]) -> tuple[int, int, int, int]:
    lines, offset = tensors[row.tensor], NUMBER * row.begin(grid.sizes)
    start = 0 if lines.start is None else lines.start.data_ptr() + offset
    # 0 between the lines of a vector: all samples and steps find the same one.
    stride = 0 if row.kind is Kind.FIXED else lines.tensor.stride(0)
    return lines.tensor.data_ptr() + offset, start, stride, lines.copies


def _product(k: int, p: Pass, term: Term, begin: int, grid: Grid, tensors: Mapping[str, Lines]) -> list[int]:
    exchange, row = grid.exchange, term.operand
    base, start, stride, _ = _where(row, grid, tensors)
    column = grid.column(row)
    previous = row.kind is Kind.PREVIOUS
    depth = grid.depth(term.columns)
    return [base, start, stride, previous, column, exchange.later(k, term), depth, term.first, term.count, begin]


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()

"""The arguments of a launch: 64-bit numbers, as `native/recurrence.cuh` reads them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gateflow.backends.cuda.grid import NUMBER, Grid
from gateflow.compiler.plan import Kind

__all__ = ["Form", "Lines", "Span"]

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


class Form:
    """What of the arguments the cut of a run decides; the rest is filled in for each launch.

    Args:
        grid: the cut.
    """

    def __init__(self, grid: Grid):
        exchange, sizes, self.grid = grid.exchange, grid.sizes, grid
        products = [(k, p, term) for k, p in enumerate(exchange.passes) for term in p.terms]
        self.rows = list(dict.fromkeys([*exchange.plan.rows, *(term.operand for _, _, term in products)]))
        self.offsets = [NUMBER * row.begin(sizes) for row in self.rows]
        # 0 between the lines of a vector: all samples and steps find the same one.
        self.lined = [row.kind is not Kind.FIXED for row in self.rows]
        self.places = [(self.rows.index(row), grid.column(row)) for row in exchange.plan.rows]
        self.products, begin = list[tuple[int, list[int]]](), 0
        for k, p, term in products:
            row, later = term.operand, exchange.later(k, term)
            whole = [
                row.kind is Kind.PREVIOUS,
                grid.column(row),
                later,
                grid.depth(term.columns),
                term.first,
                term.count,
            ]
            self.products.append((self.rows.index(row), [*whole, begin]))
            begin += grid.weights_of(p, term)
        widths = exchange.plan.widths
        self.sizes = [*(sizes[width] for width in widths), *(grid.share(width) for width in widths)]
        self.sizes += grid.total_columns[:-1] or [0]
        parts = grid.parts
        self.parts = [parts.stage, parts.partial, parts.sums, parts.gathered, parts.sliced, parts.totals]

    def filled(
        self,
        span: Span,
        tensors: Mapping[str, Lines],
        tape: Tensor,
        weights: Tensor,
        reduced: Tensor | None,
        failure: int,
    ) -> array[int]:
        """A `Call`. The tensors must outlive the launch."""
        grid = self.grid
        numbers = array("q", [span.first, span.iterations, span.direction, span.steps, span.samples, span.reverse])
        numbers.extend([_address(span.offsets), grid.replicas, grid.blocks, grid.groups, span.rounded])
        numbers.extend([_address(tape), grid.total_columns[-1], grid.operands, _address(reduced)])
        numbers.extend([0 if reduced is None else reduced.shape[2], _address(weights), grid.weights, *self.parts])
        numbers.extend([PATIENCE, failure, *self.sizes])
        found = {name: _where(lines) for name, lines in tensors.items()}
        # What nothing reads, such as products of the input that a loop does without, is nowhere.
        places = [found.get(row.tensor, (0, 0, 0, 0)) for row in self.rows]
        places = [
            (base + offset, start + offset, stride if lined else 0, copies)
            for (base, start, stride, copies), offset, lined in zip(places, self.offsets, self.lined, strict=True)
        ]
        for k, column in self.places:
            numbers.extend([*places[k], column])
        for k, rest in self.products:
            numbers.extend([*places[k][:3], *rest])
        # Arrays of no elements are not C++.
        numbers.extend([] if self.products else [0] * 10)
        return numbers


def _where(lines: Lines) -> tuple[int, int, int, int]:
    return lines.tensor.data_ptr(), _address(lines.start), lines.tensor.stride(0), lines.copies


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()

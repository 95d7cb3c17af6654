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

    `start` are the lines before the first step, one per sample, where the tensor is a state.
    """

    tensor: Tensor
    start: Tensor | None = None


class Span(NamedTuple):
    """Steps of a run, in either direction."""

    first: int
    iterations: int
    direction: int
    steps: int
    samples: int
    reverse: bool
    offsets: Tensor | None


class Form:
    """What of the arguments the cut of a run decides; the rest is filled in for each launch.

    Args:
        grid: the cut.
    """

    def __init__(self, grid: Grid):
        exchange = grid.exchange
        self.grid = grid
        operands = [term.operand for p in exchange.passes for term in p.terms]
        self.rows = [*exchange.plan.rows, *operands]
        self.has_products = bool(operands)
        self.offsets = [NUMBER * row.begin(grid.sizes) for row in self.rows]
        # 0 between the lines of a vector: all samples and steps find the same one.
        self.lined = [row.kind is not Kind.FIXED for row in self.rows]

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
        numbers = array("q", [span.first, span.iterations, span.direction, span.steps, span.samples, span.reverse])
        numbers.extend([_address(span.offsets), self.grid.replicas, self.grid.groups, _address(tape)])
        numbers.extend([_address(reduced), 0 if reduced is None else reduced.shape[2], _address(weights)])
        numbers.extend([PATIENCE, failure])
        found = {name: _where(lines) for name, lines in tensors.items()}
        for row, offset, lined in zip(self.rows, self.offsets, self.lined, strict=True):
            # What nothing reads, such as products of the input that a loop does without, is nowhere.
            base, start, stride = found.get(row.tensor, (0, 0, 0))
            numbers.extend([base + offset, start + offset, stride if lined else 0])
        # Arrays of no elements are not C++.
        numbers.extend([] if self.has_products else [0] * 3)
        return numbers


def _where(lines: Lines) -> tuple[int, int, int]:
    return lines.tensor.data_ptr(), _address(lines.start), lines.tensor.stride(0)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()

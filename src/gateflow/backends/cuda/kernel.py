"""A cell's loops as functions of tensors, built when they are first needed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gateflow.backends.base import Sequences
from gateflow.backends.cuda.arguments import Form, Lines, Span
from gateflow.backends.cuda.emit import emit
from gateflow.backends.cuda.exchange import Exchange
from gateflow.backends.cuda.grid import Grid, grid
from gateflow.backends.cuda.machine import Machine, Variant
from gateflow.backends.cuda.products import Ahead
from gateflow.backends.cuda.weights import Packing
from gateflow.compiler import CompiledCell, Costs
from gateflow.compiler.node import Sizes
from gateflow.errors import BuildError

__all__ = ["COSTS", "Loop", "loop_of"]

COSTS = Costs(load=3)
"""As on a CPU: what is stored for a later pass is read back from a cache near by."""
MOST_OF_TAPE = 1 << 28
"""Bytes of a tape: a longer run is several launches, each of many steps, so that they cost nothing."""
KEPT = 16
"""Cuts of runs that are remembered, of each loop."""
MANY = 2
"""Passes with products from which on these share one copy of their loop, see `gpu.cuh`."""


@functools.cache
def loop_of(cell: CompiledCell, name: str) -> Loop:
    """A loop of a cell: "infer", "train", "recompute" or "backward"."""
    return _loop(cell.text, cell, name)


_loops: dict[tuple[str, str], Loop] = {}


def _loop(text: str, cell: CompiledCell, name: str) -> Loop:
    # By the text, so that cells of all sizes share one.
    if (text, name) not in _loops:
        _loops[text, name] = Loop(cell, name)
    return _loops[text, name]


class _Cut(NamedTuple):
    grid: Grid
    form: Form
    packing: Packing


class Loop:
    """One loop over time.

    Args:
        cell: whose.
        name: which.
    """

    def __init__(self, cell: CompiledCell, name: str):
        self.name, self.plan = name, getattr(cell.programs(COSTS), name)
        self.exchange = Exchange(self.plan)
        self.cell = cell.graph.cell
        self.cuts = dict[tuple[object, ...], _Cut]()
        self.products = dict[tuple[tuple[str, int], ...], Ahead]()

    def ahead(self, run: Sequences) -> Tensor | None:
        """What runs ahead of the loop; none if nothing does."""
        key = tuple(run.sizes.items())
        if key not in self.products:
            self.products[key] = Ahead(self.plan, Sizes(run.sizes))
        return self.products[key].made(run)

    @functools.cached_property
    def text(self) -> str:
        """The CUDA C++."""
        return emit(self.cell, self.name, self.plan)

    def columns(self, tensor: str, sizes: Mapping[str, int]) -> int:
        """How many numbers a line of a tensor has."""
        return sum(sizes[width] for width in self.plan.columns(tensor))

    def cut(self, run: Sequences, machine: Machine) -> _Cut:
        """How a run is cut, and what follows from that.

        Raises:
            BuildError: it fits on this machine in no way.
        """
        matrix_units = run.rounded and not self.exchange.reads_lines
        key = (machine, run.samples, matrix_units, *run.sizes.items())
        if key in self.cuts:
            return self.cuts[key]
        cut = grid(self.exchange, Sizes(run.sizes), run.samples, machine, matrix_units=matrix_units)
        made = _Cut(cut, Form(cut), Packing(cut, run.weights))
        # While a graph is captured nothing is computed, so nothing may be kept.
        if not machine.captures():
            # A generator of batches of many sizes must not fill the card's memory with orders of weights.
            if len(self.cuts) >= KEPT:
                self.cuts.clear()
            self.cuts[key] = made
            # Other streams may use it at once, and one that was let go may still be in use by them.
            machine.wait()
        return made

    def variant(self, grid: Grid) -> Variant:
        """For what the kernel of a cut is built."""
        many = sum(bool(each.terms) for each in self.exchange.passes) > MANY
        return Variant(grid.samples, grid.weights_are_shared and grid.weights > 0, many, grid.matrix_units, grid.warps)

    def run(self, run: Sequences, tensors: Mapping[str, Lines], machine: Machine, *, back: bool) -> Tensor | None:
        """All steps; returns the sums over steps of the gradients of vectors, `[vectors, B, longest]`.

        Args:
            run: the sequences.
            tensors: those of the plan's rows, by name.
            machine: where they are.
            back: from the cell's last step to its first.

        Raises:
            BuildError: the kernel cannot be built, or the machine refuses the launch.
        """
        if obstacle := self.exchange.obstacle:
            raise BuildError(f"{self.cell}: {obstacle}")
        grid, form, packing = self.cut(run, machine)
        function = machine.function(self.text, self.name, self.variant(grid))
        lines = {**tensors, **self._own(grid, run)}
        weights, reduced = packing.packed(run.weights, rounded=run.rounded), self._reduced(run)
        direction = -1 if run.reverse != back else 1
        entry = grid.groups * grid.samples * grid.total_columns[-1]
        most = max(1, MOST_OF_TAPE // max(4 * entry, 1) - 1)
        for done in range(0, run.steps, most):
            iterations = min(most, run.steps - done)
            tape = _tape(grid, iterations + 1, run.x.device)
            first = done if direction == 1 else run.steps - 1 - done
            span = Span(first, iterations, direction, run.steps, run.samples, run.reverse, run.offsets, run.rounded)
            given = form.filled(span, lines, tape, weights, reduced, machine.failure())
            function(grid.replicas * grid.blocks, grid.shared, given)
        return reduced

    def _own(self, grid: Grid, run: Sequences) -> dict[str, Lines]:
        """Memory that this loop has to itself."""
        own, blocks = dict[str, Lines](), grid.replicas * grid.blocks
        if columns := self.columns("scratch", grid.sizes):
            own["scratch"] = Lines(run.x.new_empty(run.samples, columns))
        if columns := self.columns("number", grid.sizes):
            # A copy for each block: one may be a step ahead of another.
            numbers = run.x.new_empty(blocks * run.samples, columns)
            own["number"] = Lines(numbers, copies=run.samples * columns)
        return own

    def _reduced(self, run: Sequences) -> Tensor | None:
        if not self.plan.parameters:
            return None
        longest = max(run.sizes[each.width] for each in self.plan.passes if each.reductions)
        return run.x.new_zeros(len(self.plan.parameters), run.samples, longest)


def _tape(grid: Grid, entries: int, device: torch.device) -> Tensor:
    """A tape that is EMPTY, but for the zeros that fill rows up."""
    tape = torch.full(
        (entries, grid.groups, grid.samples * grid.total_columns[-1]), -1, dtype=torch.int32, device=device
    )
    for row, column in zip(grid.exchange.rows, grid.columns, strict=True):
        size, length = grid.sizes[row.width], grid.length(row.width)
        if length > size:
            halves = tape[:, :, : grid.samples * grid.operands // 2].view(torch.int16)
            halves.view(entries, grid.groups, grid.samples, -1)[..., column + size : column + length] = 0
    return tape

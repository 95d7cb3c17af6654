"""The gradients of everything that went into a run: a kernel's loop, and the large products that follow it.

The gradients of the weights do not wait for the step before: they are taken out of the loop over time, as large
products that follow it chunk by chunk of steps. What lies between the two is still in the cache, and its memory does
not grow with the length of the sequences.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from gateflow.backends.base import Gradients
from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import Chunk, Lines, Prepared
from gateflow.backends.cpu.gemm import Gemms, multiplies_bfloat16
from gateflow.backends.cpu.kernel import CompiledLoop
from gateflow.backends.cpu.launch import Launch
from gateflow.backends.cpu.previous_states import PreviousStates
from gateflow.compiler.plan import Kind, Row
from gateflow.compiler.weight_gradients import WeightProduct, weight_products

__all__ = ["BackwardRun"]

CHUNK = 1024
"""Lines (samples × steps) between the stages: enough for the large products to run at full speed."""


class BackwardRun:
    """One run of the backward loop, with the gradients that it adds up chunk by chunk.

    Args:
        launch: the run forward, with its histories.
        saved: what it kept; none to compute it again chunk by chunk.
        d_output: gradient of the first history, or none.
        d_finals: gradients of the final states.
        wanted: names of the weights whose gradients are asked for.
        d_x: whether the gradient of the input is asked for.
    """

    def __init__(
        self,
        launch: Launch,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        d_x: bool,
    ):
        run = launch.run
        self.launch, self.forward, self.previous = launch, run, PreviousStates(launch)
        self.d_output, self.wanted, self.sizes = d_output, wanted, run.sizes
        self.loop, self.products = launch.loop("backward"), weight_products(run.step.cell, run.sizes)
        self.chunks = _chunks(launch.begins, reverse=run.reverse)
        self.carries = [
            # A copy: the loop writes here, and autograd may give the same gradient to others.
            torch.zeros_like(s) if d is None else d.clone(memory_format=torch.contiguous_format)
            for d, s in zip(d_finals, run.states, strict=True)
        ]
        self.d_x = torch.empty_like(run.x) if d_x else None
        self.direct = self._direct()
        # The first products then write: adding would need zeros, which torch fills with a team of its own.
        self.overwritten = self.products.covered if self.chunks else frozenset()
        made = {name: torch.empty_like if name in self.overwritten else torch.zeros_like for name in wanted}
        self.d_weights = {name: make(run.weights[name]) for name, make in made.items()}
        self.biases = [p for p in self.products.all if p.weight.bias in wanted]
        # A bias gets the sum of its deltas: their product with ones, which goes with the others' tiles.
        self.sums = run.x.new_zeros(self.loop.columns("delta", self.sizes), 1)
        self.made = {name: self._of_a_chunk(name, self.loop) for name in ("delta", "operand", "d_x")}
        self.saved = self._of_a_chunk("saved", launch.loop("recompute")) if saved is None else Lines(saved)

    def run(self) -> Gradients:
        """All chunks, last step first: in one call, if nothing need be done in between."""
        if self.chunks:
            again, backward = self._prepared()
            # One call if it can be: a team of threads called again for each chunk waits for its slowest member each
            # time, for a whole time slice where the machine has something else to do.
            if again is not None or self.forward.rounded or self.forward.offsets is not None:
                for chunk in self.chunks:
                    self._run_chunk(chunk, again, backward)
            else:
                backward.over([chunk._replace(gemms=self._products(chunk)) for chunk in self.chunks])
            self._add_sums(backward.reduced)
        return Gradients(self.d_x, self.d_weights, self.carries)

    def _run_chunk(self, chunk: Chunk, again: Prepared | None, backward: Prepared) -> None:
        if again is not None:
            again.over([chunk._replace(first=chunk.last, last=chunk.first)])
        if self.forward.rounded:  # what is left of the steps is rounded before it is multiplied
            backward.over([chunk])
            backward.only(self._products(chunk))
        else:
            backward.over([chunk._replace(gemms=self._products(chunk))])

    def _prepared(self) -> tuple[Prepared | None, Prepared]:
        """The loop that computes again what was not kept, if there is such, and the backward loop."""
        launch, storage = self.launch, self.forward.step.cell.storage
        known = launch.known() | self.made | {"saved": self.saved}
        known |= {} if self.direct is None else {"d_x": Lines(self.direct)}
        known |= {f"carry.{s.name}": Lines(c) for s, c in zip(storage.graph.states, self.carries, strict=True)}
        known["d_output"] = Lines(self._zero_line() if self.d_output is None else self.d_output)
        first, last = self.chunks[0].first, self.chunks[-1].last
        again = self.saved.of_a_chunk and bool(storage.saved)
        recompute = launch.prepare(launch.loop("recompute"), last, first, known) if again else None
        return recompute, launch.prepare(self.loop, first, last, known)

    def _direct(self) -> Tensor | None:
        """Where the loop writes what is no product's gradient of the input: one number for a row or all of them."""
        columns = self.loop.columns("d_x", self.sizes)
        if self.d_x is None or columns == self.sizes["I"]:
            return self.d_x
        return empty(self.d_x.shape[0], columns, self.d_x.dtype) if columns else None

    def _of_a_chunk(self, name: str, loop: CompiledLoop) -> Lines:
        """Memory that one chunk after the other uses."""
        most = max((chunk.end - chunk.begin for chunk in self.chunks), default=0)
        return Lines(empty(most, loop.columns(name, self.sizes), self.forward.x.dtype), of_a_chunk=True)

    def _zero_line(self) -> Tensor:
        """One line of zeros that stands for all lines."""
        # Expanded: all lines are the same memory, so it stays in the cache.
        return self.forward.x.new_zeros(1, self.forward.states[0].shape[1]).expand(self.forward.x.shape[0], -1)

    def _products(self, chunk: Chunk) -> Gemms:
        """What a chunk adds to the gradients of weights and input."""
        gemms, first = Gemms(self.forward.x.dtype), chunk.begin == self.chunks[0].begin
        delta = self.made["delta"].tensor[: chunk.end - chunk.begin]
        if self.biases:
            gemms.add(self.sums, delta, delta.new_ones(len(delta), 1), transposed=True)
        delta = self._factor(delta)
        for product in self.products.all:
            if product.weight.name in self.wanted:
                fresh = first and product.weight.name in self.overwritten and product.phase == 0
                self._add(gemms, product, delta[:, product.columns], chunk, fresh=fresh)
        if self.d_x is not None:
            self._input(gemms, self.d_x[chunk.begin : chunk.end], delta)
        return gemms

    def _add(self, gemms: Gemms, product: WeightProduct, delta: Tensor, chunk: Chunk, *, fresh: bool) -> None:
        # An operand may lie in two parts, a start and a history: both add to the same rows, so each has its own phase.
        to, phase = self.d_weights[product.weight.name][product.rows], 2 * product.phase
        for k, (lines, operand) in enumerate(self._operand(product.operand, chunk.begin, chunk.end)):
            factor = self._factor(operand)
            gemms.add(to, delta[lines], factor, phase=phase + k, transposed=True, fresh=fresh and k == 0)

    def _input(self, gemms: Gemms, d_x: Tensor, delta: Tensor) -> None:
        begun, products = self.direct is self.d_x, self.products.of_input
        # The first product writes all of the gradient, unless it is one of a slice of the input.
        whole = bool(products) and not any(product.operand.within for product in products)
        if not begun and not whole:
            d_x.zero_()
        # A phase each, since all of them add to the same lines of `d_x`.
        for k, product in enumerate(products):
            weight, columns = self.forward.weights[product.weight.name][product.rows], self._columns(product.operand)
            fresh = k == 0 and whole and not begun
            gemms.add(d_x[:, columns], delta[:, product.columns], self._factor(weight), phase=k, fresh=fresh)

    def _columns(self, row: Row) -> slice:
        start = row.begin(self.sizes)
        return slice(start, start + self.sizes[row.width])

    def _operand(self, row: Row, begin: int, end: int) -> list[tuple[slice, Tensor]]:
        """What a product was applied to: lines of the chunk, and the values there."""
        if row.kind is Kind.PREVIOUS:
            names = [f"state.{s.name}" for s in self.forward.step.cell.graph.states]
            return self.previous.lines(names.index(row.tensor), begin, end)
        if row.tensor == "x":
            return [(slice(None), self.forward.x[begin:end, self._columns(row)])]
        return [(slice(None), self.made[row.tensor].tensor[: end - begin, self._columns(row)])]

    def _add_sums(self, reduced: Tensor | None) -> None:
        """The gradients of vectors and biases, from their sums over all lines."""
        for name, gradient in zip(self.loop.parameters, () if reduced is None else reduced.sum(0), strict=True):
            if name in self.wanted:
                # As long as the longest of them.
                self.d_weights[name] += gradient[: self.d_weights[name].shape[0]]
        if self.d_x is not None and self.direct is not None and self.direct is not self.d_x:
            self.d_x += self.direct
        for product in self.biases:
            self.d_weights[product.weight.bias or ""][product.rows] += self.sums[product.columns, 0]

    def _factor(self, matrix: Tensor) -> Tensor:
        """A factor of a large product, rounded if products are in bf16."""
        if not self.forward.rounded:
            return matrix
        # The same result either way: a product of two numbers of bfloat16 is exact in float32.
        return matrix.bfloat16() if multiplies_bfloat16() else matrix.bfloat16().to(matrix.dtype)


def _chunks(begins: Sequence[int], *, reverse: bool) -> list[Chunk]:
    """The chunks in the order of the backward loop."""
    chunks, start, steps = [], 0, len(begins) - 1
    while start < steps:
        # At least one step, however many samples it has.
        last = max(start, bisect_right(begins, begins[start] + CHUNK) - 2)
        ends = (start, last) if reverse else (last, start)
        chunks.append(Chunk(*ends, begins[start], begins[last + 1]))
        start = last + 1
    return chunks if reverse else chunks[::-1]

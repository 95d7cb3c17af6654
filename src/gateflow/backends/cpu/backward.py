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

from gateflow.backends.base import Gradients, Sequences
from gateflow.backends.cpu.allocator import empty
from gateflow.backends.cpu.arguments import Chunk, Lines, Prepared
from gateflow.backends.cpu.gemm import Gemms, blas
from gateflow.backends.cpu.kernel import CompiledLoop, kernel_of
from gateflow.backends.cpu.launch import Launch
from gateflow.backends.cpu.multiplier import chosen, factor
from gateflow.backends.cpu.repeated import Repeated, may_be_repeated, stand_in, stand_ins
from gateflow.backends.previous_states import PreviousStates
from gateflow.compiler.plan import Kind, Row
from gateflow.compiler.weight_gradients import WeightProduct, weight_products

__all__ = ["backward"]

CHUNK = 1024
"""Lines (samples × steps) between the stages: enough for the large products to run at full speed."""


def backward(
    run: Sequences,
    saved: Tensor | None,
    d_output: Tensor | None,
    d_finals: Sequence[Tensor | None],
    wanted: frozenset[str],
    d_x: bool,
) -> Gradients:
    """The gradients of a run; see `Backend.backward`."""
    # A copy: the loop writes here, and autograd may give the same gradient to others.
    carries = [
        torch.zeros_like(s) if d is None else d.clone(memory_format=torch.contiguous_format)
        for d, s in zip(d_finals, run.states, strict=True)
    ]
    if saved is None or run.rounded or not may_be_repeated(run):
        return BackwardRun(run, saved, d_output, carries, wanted, d_x).run()
    repeats = kernel_of(run.step.cell).loop("backward", run.x.dtype).repeats
    key = (*run.shapes, run.x.stride(0), run.reverse, torch.get_num_threads(), d_output is None, wanted, d_x)
    again = repeats.take(key, lambda: _Again(run, saved, d_output, wanted, d_x))
    found = again(run, saved, d_output, carries)
    repeats.give(key, again)
    return found


class BackwardRun:
    """One run of the backward loop, with the gradients that it adds up chunk by chunk.

    Args:
        run: the run forward, with its histories.
        saved: what it kept; none to compute it again chunk by chunk.
        d_output: gradient of the first history, or none.
        carries: gradients of the final states, in memory that the loop may write to.
        wanted: names of the weights whose gradients are asked for.
        d_x: whether the gradient of the input is asked for.
    """

    def __init__(
        self,
        run: Sequences,
        saved: Tensor | None,
        d_output: Tensor | None,
        carries: list[Tensor],
        wanted: frozenset[str],
        d_x: bool,
    ):
        self.launch = launch = Launch(run)
        self.forward, self.previous, self.carries = run, PreviousStates(run), carries
        self.wanted, self.sizes = wanted, run.sizes
        self.loop, self.products = launch.loop("backward"), weight_products(run.step.cell, run.sizes)
        self.multiplier = chosen() if run.rounded else "float32"
        self.chunks = _chunks(launch.begins, reverse=run.reverse)
        self.d_output = self._zero_line() if d_output is None else d_output
        self.make_d_x = torch.zeros_like if self._nothing_writes_d_x() else torch.empty_like
        self.d_x = self.make_d_x(run.x) if d_x else None
        self.direct = self._direct()
        # The first products then write: adding would need zeros, which torch fills with a team of its own.
        self.overwritten = self.products.covered if self.chunks else frozenset()
        self.makers = {name: torch.empty_like if name in self.overwritten else torch.zeros_like for name in wanted}
        self.d_weights = {name: make(run.weights[name]) for name, make in self.makers.items()}
        # A bias gets the sum of its deltas: their product with ones, which goes with the others' tiles.
        self.ones = run.x.new_ones(self._most_lines(), 1)
        self.made = {name: self._of_a_chunk(name, self.loop) for name in ("delta", "operand", "d_x")}
        self.saved = self._of_a_chunk("saved", launch.loop("recompute")) if saved is None else Lines(saved)

    def run(self) -> Gradients:
        """All chunks, last step first: in one call, if nothing need be done in between."""
        if self.chunks:
            again, backward = self.prepared()
            # One call if it can be: a team of threads called again for each chunk waits for its slowest member each
            # time, for a whole time slice where the machine has something else to do.
            if again is not None or self.forward.rounded or self.forward.offsets is not None:
                for chunk in self.chunks:
                    self._run_chunk(chunk, again, backward)
            else:
                backward.over(self.with_products())
            _add_rest(self.loop, backward.reduced, self.direct, self.d_weights, self.d_x)
        return Gradients(self.d_x, self.d_weights, self.carries)

    def with_products(self) -> list[Chunk]:
        """The chunks with the products that follow each."""
        return [chunk._replace(gemms=self._products(chunk)) for chunk in self.chunks]

    def _run_chunk(self, chunk: Chunk, again: Prepared | None, backward: Prepared) -> None:
        if again is not None:
            again.over([chunk._replace(first=chunk.last, last=chunk.first)])
        if self.forward.rounded:  # what is left of the steps is rounded before it is multiplied
            backward.over([chunk])
            backward.only(self._products(chunk))
        else:
            backward.over([chunk._replace(gemms=self._products(chunk))])

    def prepared(self) -> tuple[Prepared | None, Prepared]:
        """The loop that computes again what was not kept, if there is such, and the backward loop."""
        launch, storage = self.launch, self.forward.step.cell.storage
        known = launch.known() | self.made | {"saved": self.saved}
        known |= {} if self.direct is None else {"d_x": Lines(self.direct)}
        known |= {f"carry.{s.name}": Lines(c) for s, c in zip(storage.graph.states, self.carries, strict=True)}
        known["d_output"] = Lines(self.d_output)
        first, last = self.chunks[0].first, self.chunks[-1].last
        again = self.saved.of_a_chunk and bool(storage.saved)
        recompute = launch.prepare(launch.loop("recompute"), last, first, known) if again else None
        return recompute, launch.prepare(self.loop, first, last, known)

    def _nothing_writes_d_x(self) -> bool:
        return not self._written_whole() and self.loop.columns("d_x", self.sizes) != self.sizes["I"]

    def _written_whole(self) -> bool:
        """Whether products write all of the gradient of the input, and not only that of a slice."""
        products = self.products.of_input
        return bool(products) and not any(product.operand.within for product in products)

    def _direct(self) -> Tensor | None:
        """Where the loop writes what is no product's gradient of the input: one number for a row or all of them."""
        columns = self.loop.columns("d_x", self.sizes)
        if self.d_x is None or columns == self.sizes["I"]:
            return self.d_x
        return empty(self.d_x.shape[0], columns, self.d_x.dtype) if columns else None

    def _of_a_chunk(self, name: str, loop: CompiledLoop) -> Lines:
        """Memory that one chunk after the other uses."""
        return Lines(empty(self._most_lines(), loop.columns(name, self.sizes), self.forward.x.dtype), of_a_chunk=True)

    def _most_lines(self) -> int:
        """Lines of the largest chunk."""
        return max((chunk.end - chunk.begin for chunk in self.chunks), default=0)

    def _zero_line(self) -> Tensor:
        """One line of zeros that stands for all lines."""
        # Expanded: all lines are the same memory, so it stays in the cache.
        return self.forward.x.new_zeros(1, self.forward.states[0].shape[1]).expand(self.forward.x.shape[0], -1)

    def _products(self, chunk: Chunk) -> Gemms:
        """What a chunk adds to the gradients of weights and input."""
        gemms, first = Gemms(self.forward.x.dtype, self.multiplier), chunk.begin == self.chunks[0].begin
        sums = self.made["delta"].tensor[: chunk.end - chunk.begin]
        delta = self._factor(sums)
        for product in self.products.all:
            fresh = self.overwritten if first and product.phase == 0 else frozenset()
            name, bias = product.weight.name, product.weight.bias
            if name in self.wanted:
                self._add(gemms, product, delta[:, product.columns], chunk, fresh=name in fresh)
            if bias in self.wanted:
                to, ones = self.d_weights[bias][product.rows, None], self.ones[: len(sums)]
                gemms.add(
                    to, sums[:, product.columns], ones, phase=2 * product.phase, transposed=True, fresh=bias in fresh
                )
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
        whole = self._written_whole()
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

    def _factor(self, matrix: Tensor) -> Tensor:
        """A factor of a large product, rounded if products are in bf16."""
        return factor(matrix, self.multiplier) if self.forward.rounded else matrix


class _Again:
    """What is prepared for the gradients of runs with tensors of the same shapes."""

    def __init__(self, run: Sequences, saved: Tensor, d_output: Tensor | None, wanted: frozenset[str], d_x: bool):
        kept, given = stand_in(saved), None if d_output is None else stand_in(d_output)
        one = BackwardRun(stand_ins(run), kept, given, [*map(stand_in, run.states)], wanted, d_x)
        self.loop, self.makers, self.make_d_x = one.loop, one.makers, one.make_d_x if d_x else None
        _, prepared = one.prepared()
        lists, self.reduced = prepared.listed(one.with_products()), prepared.reduced
        direct = [] if one.direct is None or one.direct is one.d_x else [one.direct]
        work = [*direct, *(each.tensor for each in one.made.values()), prepared.own]
        self.has_direct, self.work = bool(direct), [(each.shape[0], each.shape[1]) for each in work]
        tensors = _tensors(one.forward, kept, given, one.d_weights, one.d_x, one.carries, prepared.reduced)
        constants = [one.ones, blas(run.x.dtype), *([one.d_output] if d_output is None else [])]
        self.run = Repeated(prepared, lists, [*tensors, *work], constants)

    def __call__(self, run: Sequences, saved: Tensor, d_output: Tensor | None, carries: list[Tensor]) -> Gradients:
        d_weights = {name: make(run.weights[name]) for name, make in self.makers.items()}
        d_x = None if self.make_d_x is None else self.make_d_x(run.x)
        reduced = None if self.reduced is None else torch.zeros_like(self.reduced)
        work = [empty(lines, columns, run.x.dtype) for lines, columns in self.work]
        self.run([*_tensors(run, saved, d_output, d_weights, d_x, carries, reduced), *work])
        _add_rest(self.loop, reduced, work[0] if self.has_direct else None, d_weights, d_x)
        return Gradients(d_x, d_weights, carries)


def _tensors(
    run: Sequences,
    saved: Tensor,
    d_output: Tensor | None,
    d_weights: dict[str, Tensor],
    d_x: Tensor | None,
    carries: list[Tensor],
    reduced: Tensor | None,
) -> list[Tensor]:
    """What a run reads and writes besides memory of its own."""
    always = run.x, *run.weights.values(), *run.states, *run.histories, saved, *d_weights.values(), *carries
    return [*always, *(each for each in (d_output, d_x, reduced, run.numbers, run.line_of_sizes) if each is not None)]


def _add_rest(
    loop: CompiledLoop,
    reduced: Tensor | None,
    direct: Tensor | None,
    d_weights: dict[str, Tensor],
    d_x: Tensor | None,
) -> None:
    """The gradients of vectors, from their sums over groups of samples, and what is no product's of the input."""
    for name, gradient in zip(loop.parameters, () if reduced is None else reduced.sum(0), strict=True):
        if name in d_weights:
            # As long as the longest of them.
            d_weights[name] += gradient[: d_weights[name].shape[0]]
    if d_x is not None and direct is not None and direct is not d_x:
        d_x += direct


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

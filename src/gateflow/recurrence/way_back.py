"""The native path's way back: the gradients of everything that went into a run.

The gradients of the weights do not wait for the step before: they are taken out of the loop over time, as large
products that follow it chunk by chunk of steps. What lies between the two is still in the cache, and its memory does
not grow with the length of the sequences.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gateflow.compiler.blocks import empty
from gateflow.compiler.graph import Weight
from gateflow.compiler.kernel import Lines, Loop
from gateflow.compiler.plan import Kind, Row
from gateflow.compiler.programs import Programs
from gateflow.recurrence.native import Sequences

__all__ = ["Gradients", "WayBack"]

CHUNK = 1024
"""Lines (samples × steps) between the stages: enough for the large products to run at full speed."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of everything that went in."""

    x: Tensor | None
    weights: dict[str, Tensor]
    states: list[Tensor]


@dataclass
class _Piece:
    """Adjacent blocks of one weight whose gradients of results lie side by side: one matrix product."""

    weight: Weight
    blocks: int
    columns: slice
    operand: Row

    def goes_on_with(self, weight: Weight, columns: slice, operand: Row) -> bool:
        """Whether another block continues this one, in the weight and in the gradients."""
        same = self.weight.name == weight.name and self.operand == operand
        return same and self.weight.block + self.blocks == weight.block and self.columns.stop == columns.start


@functools.cache
def _pieces(programs: Programs, widths: tuple[tuple[str, int], ...]) -> list[_Piece]:
    """The products that give the gradients of the weights."""
    pieces, sizes = list[_Piece](), dict(widths)
    for delta in programs.backward_graph.deltas:
        row, operand = programs.delta_row(delta), programs.operand_row(delta)
        columns = slice(row.begin(sizes), row.begin(sizes) + sizes[row.width])
        last = pieces[-1] if pieces else None
        if last and last.goes_on_with(delta.weight, columns, operand):
            last.blocks, last.columns = last.blocks + 1, slice(last.columns.start, columns.stop)
        else:
            pieces.append(_Piece(delta.weight, 1, columns, operand))
    return pieces


class WayBack:
    """One run of the backward loop, with the gradients that it adds up chunk by chunk.

    Args:
        run: the run forward.
        saved: what it kept; none to compute it again chunk by chunk.
        d_output: gradient of the first history, or none.
        d_finals: gradients of the final states.
        wanted: names of the weights whose gradients are asked for.
        d_x: whether the gradient of the input is asked for.
    """

    def __init__(
        self,
        run: Sequences,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        d_x: bool,
    ):
        self.forward, self.saved, self.d_output, self.wanted = run, saved, d_output, wanted
        self.loop, self.sizes = run.loop("backward"), run.sizes
        self.pieces = _pieces(self.programs, tuple(self.sizes.items()))
        self.carries = [
            torch.zeros_like(s) if d is None else d.clone(memory_format=torch.contiguous_format)
            for d, s in zip(d_finals, run.states, strict=True)
        ]
        self.d_x = torch.empty_like(run.x) if d_x else None
        self.buffers = dict[str, Tensor]()
        self.d_weights = {n: torch.zeros_like(run.weights[n]) for n in wanted}

    def run(self) -> Gradients:
        """All chunks, last step first."""
        run, known = self.forward, self.forward.known()
        known |= {f"carry.{s.name}": Lines(c) for s, c in zip(self.programs.graph.states, self.carries, strict=True)}
        known["d_output"] = Lines(self._zero_line() if self.d_output is None else self.d_output)
        packed = run.pack(self.loop)
        with self.loop.subnormals_are_zero():  # what is left of a vanishing gradient would slow the products
            for first, last in self._chunks():
                chunk = self._chunk_tensors(first, last)
                vectors = run.run(self.loop, first, last, known | chunk, packed)
                for name, gradient in zip(self.loop.parameters, vectors, strict=True):
                    if name in self.wanted:
                        self.d_weights[name] += gradient
                self._weights(chunk, first, last)
                self._input(chunk, first, last)
        return Gradients(self.d_x, self.d_weights, self.carries)

    @property
    def programs(self) -> Programs:
        """The cell's programs."""
        return self.forward.kernel.programs

    def _zero_line(self) -> Tensor:
        """One line of zeros that stands for all lines."""
        return self.forward.x.new_zeros(1, self.forward.states[0].shape[1]).expand(self.forward.x.shape[0], -1)

    def _chunk_tensors(self, first: int, last: int) -> dict[str, Lines]:
        run = self.forward
        begin, end = run.lines(first, last)
        columns = {name: self.loop.columns(name, self.sizes) for name in ("delta", "operand", "d_x")}
        made = {n: Lines(self._chunk(n, end - begin, size), origin=begin) for n, size in columns.items() if size}
        if self.saved is not None:
            return made | {"saved": Lines(self.saved)}
        return made | self._recomputed(first, last)

    def _recomputed(self, first: int, last: int) -> dict[str, Lines]:
        run = self.forward
        if not self.programs.saved:
            return {}
        loop, known, packed = self.again
        begin, end = run.lines(first, last)
        saved = Lines(self._chunk("saved", end - begin, loop.columns("saved", self.sizes)), origin=begin)
        run.run(loop, last, first, known | {"saved": saved}, packed)
        return {"saved": saved}

    @cached_property
    def again(self) -> tuple[Loop, dict[str, Lines], list[Tensor]]:
        """The loop that computes again what was not kept, its tensors and its packed weights."""
        loop = self.forward.loop("recompute")
        return loop, self.forward.known(), self.forward.pack(loop)

    def _rows_of(self, piece: _Piece) -> slice:
        height = self.sizes[piece.weight.rows]
        return slice(piece.weight.block * height, (piece.weight.block + piece.blocks) * height)

    def _weights(self, chunk: Mapping[str, Lines], first: int, last: int) -> None:
        if not self.wanted:
            return
        sums, factor = dict[tuple[int, int], Tensor](), self._factor
        for piece in self.pieces:
            delta, rows = chunk["delta"].tensor[:, piece.columns], self._rows_of(piece)
            if piece.weight.name in self.wanted:
                for lines, operand in self._operand(piece.operand, chunk, first, last):
                    self.d_weights[piece.weight.name][rows].addmm_(factor(delta[lines]).T, factor(operand))
            if piece.weight.bias in self.wanted:
                place = piece.columns.start, piece.columns.stop
                sums[place] = total = sums[place] if place in sums else delta.sum(0)
                self.d_weights[piece.weight.bias][rows] += total

    def _operand(self, row: Row, chunk: Mapping[str, Lines], first: int, last: int) -> list[tuple[slice, Tensor]]:
        run = self.forward
        begin, end = run.lines(first, last)
        if row.kind is Kind.PREVIOUS:
            names = [f"state.{s.name}" for s in self.programs.graph.states]
            return self._previous(names.index(row.tensor), first, last)
        if row.tensor == "x":
            return [(slice(0, end - begin), run.x[begin:end])]
        start = row.begin(self.sizes)
        return [(slice(0, end - begin), chunk[row.tensor].tensor[:, start : start + self.sizes[row.width]])]

    def _input(self, chunk: Mapping[str, Lines], first: int, last: int) -> None:
        if self.d_x is None:
            return
        (begin, end), factor = self.forward.lines(first, last), self._factor
        d_x, direct = self.d_x[begin:end], chunk.get("d_x")
        pieces = [piece for piece in self.pieces if piece.operand.tensor == "x"]
        if direct is not None or not pieces:
            d_x.zero_() if direct is None else d_x.copy_(direct.tensor)
        for k, piece in enumerate(pieces):
            delta = factor(chunk["delta"].tensor[:, piece.columns])
            weight = factor(self.forward.weights[piece.weight.name][self._rows_of(piece)])
            d_x.addmm_(delta, weight, beta=0 if k == 0 and direct is None else 1)

    def _chunks(self) -> list[tuple[int, int]]:
        """First and last step of each chunk, in the order of the way back."""
        run, ranges, start = self.forward, [], 0
        for t in range(run.steps):
            if t == run.steps - 1 or run.begins[t + 2] - run.begins[start] > CHUNK:
                ranges.append((start, t))
                start = t + 1
        return ranges if run.reverse else [(b, a) for a, b in reversed(ranges)]

    def _chunk(self, name: str, lines: int, columns: int) -> Tensor:
        """Lines for one chunk, in the memory that the chunk before has used for the same."""
        flat = self.buffers.get(name)
        if flat is None or flat.numel() < lines * columns:
            flat = self.buffers[name] = empty(lines, columns, self.forward.x.dtype).flatten()
        return flat[: lines * columns].view(lines, columns)

    def _factor(self, matrix: Tensor) -> Tensor:
        """A factor of a large product, rounded if products are in bf16."""
        return matrix.bfloat16().to(matrix.dtype) if self.forward.rounded else matrix

    @cached_property
    def _with_starts(self) -> list[Tensor]:
        """Each history, followed by the lines before its first step."""
        return [torch.cat(pair) for pair in zip(self.forward.histories, self.forward.states, strict=True)]

    @cached_property
    def _lines_before(self) -> Tensor:
        """For each line that of the step before; the start, which follows the history, where there is none."""
        run = self.forward
        begins, counts = torch.tensor(run.begins), run.counts
        step = torch.repeat_interleave(torch.arange(run.steps), counts)
        sample = torch.arange(run.x.shape[0]) - begins[step]
        before = step + 1 if run.reverse else step - 1
        inside = (before >= 0) & (before < run.steps)
        before = before.clamp(0, max(run.steps - 1, 0))
        return torch.where(inside & (sample < counts[before]), begins[before] + sample, run.x.shape[0] + sample)

    def _previous(self, k: int, first: int, last: int) -> list[tuple[slice, Tensor]]:
        """The values of state `k` before the lines of some steps: pieces of the chunk, and the values there."""
        run = self.forward
        history, start, B = run.histories[k], run.states[k], run.samples
        begin, end = run.lines(first, last)
        if run.offsets is not None:
            return [(slice(0, end - begin), self._with_starts[k][self._lines_before[begin:end]])]
        if run.reverse and end == history.shape[0]:
            return [(slice(end - begin - B, end - begin), start), (slice(0, end - begin - B), history[begin + B :])]
        if not run.reverse and begin == 0:
            return [(slice(0, B), start), (slice(B, end), history[: end - B])]
        shift = B if run.reverse else -B
        return [(slice(0, end - begin), history[begin + shift : end + shift])]

"""The native path: a cell's compiled loops over sequences, forward and backward, on plain tensors without autograd.

The gradients of the weights do not wait for the step before: they are taken out of the loop over time, as large
products that follow it chunk by chunk of steps. What lies between the two is still in the cache, and its memory does
not grow with the length of the sequences.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gateflow.compiler.blocks import empty
from gateflow.compiler.graph import Weight
from gateflow.compiler.kernel import Kernel, Lines, Loop, Span
from gateflow.compiler.plan import Kind, Row
from gateflow.compiler.programs import Programs
from gateflow.recurrence.shares import shares

__all__ = ["Gradients", "Sequences"]

CHUNK = 1024
"""Lines (samples × steps) between the stages: enough for the large products to run at full speed."""


@dataclass(frozen=True)
class Gradients:
    """Gradients of everything that went in."""

    x: Tensor | None
    weights: dict[str, Tensor]
    states: list[Tensor]


@dataclass
class Sequences:
    """A cell's run over sequences.

    Args:
        kernel: the compiled cell.
        x: input, one line per sample and step: `[lines, I]`, all samples of a step together.
        weights: the cell's weights by name.
        states: what each part of the state starts from, `[B, size]`.
        holds: for each part of the state how much of the old value zoneout keeps, `[lines, size]` or one line for all.
        offsets: where each step begins, `[T + 1]`, samples sorted by falling length; none if all are equally long.
        reverse: whether the cell goes from the last step to the first.
        rounded: whether the factors of all products are rounded to bfloat16; sums and states stay as they are.
    """

    kernel: Kernel
    x: Tensor
    weights: Mapping[str, Tensor]
    states: Sequence[Tensor]
    holds: Sequence[Tensor] = ()
    offsets: Tensor | None = None
    reverse: bool = False
    rounded: bool = False
    histories: list[Tensor] = field(default_factory=list)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[Loop, tuple[int, Tensor | None]] = field(default_factory=dict)

    @cached_property
    def samples(self) -> int:
        """How many sequences there are."""
        return self.states[0].shape[0]

    @cached_property
    def begins(self) -> list[int]:
        """The first line of each step, and the number of lines."""
        if self.offsets is not None:
            return self.offsets.tolist()
        return list(range(0, self.x.shape[0] + 1, max(self.samples, 1)))

    @property
    def steps(self) -> int:
        """Length of the longest sequence."""
        return len(self.begins) - 1

    @cached_property
    def sizes(self) -> dict[str, int]:
        """What the widths of rows are here."""
        sizes = {"P": 0, "H": self.kernel.equations.hidden_size, "I": self.x.shape[1], "1": 1}
        graph = self.kernel.programs.graph
        return sizes | {n.width: s.shape[1] for n, s in zip(graph.states, self.states, strict=True)}

    def forward(self, *, keep: bool) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """Runs the steps.

        Returns:
            The history of each part of the state `[lines, size]`, its value after each sample's last step, and what the
            way back needs beside them, if `keep`.
        """
        loop = self.loop("train" if keep else "infer")
        lines, dtype = self.x.shape[0], self.x.dtype
        output, *others = (s.shape[1] for s in self.states)
        self.histories = [self.x.new_empty(lines, output), *(empty(lines, size, dtype) for size in others)]
        saved = empty(lines, loop.columns("saved", self.sizes), dtype) if keep else None
        tensors = self.known() | ({} if saved is None else {"saved": Lines(saved)})
        packed = self.pack(loop)
        if self.steps:
            first, last = (self.steps - 1, 0) if self.reverse else (0, self.steps - 1)
            self._run(loop, first, last, tensors, packed)
        return self.histories, self._finals(), saved

    def backward(
        self,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        *,
        d_x: bool,
    ) -> Gradients:
        """Runs the steps backwards.

        Args:
            saved: what `forward` kept; none to compute it again chunk by chunk.
            d_output: gradient of the first history, or none.
            d_finals: gradients of the final states.
            wanted: names of the weights whose gradients are asked for.
            d_x: whether the gradient of the input is asked for.
        """
        return _WayBack(self, saved, d_output, d_finals, wanted, d_x).run()

    def loop(self, name: str) -> Loop:
        """A loop of the kernel for these numbers."""
        return self.kernel.loop(name, self.x.dtype, torch.bfloat16 if self.rounded else None)

    def pack(self, loop: Loop) -> list[Tensor]:
        """The weights as a loop reads them."""
        return loop.pack(self.weights, self.sizes, torch.get_num_threads())

    def known(self) -> dict[str, Lines]:
        """The tensors that a loop reads or writes in all chunks alike."""
        graph = self.kernel.programs.graph
        vectors = {f"weights.{n}": Lines(w[None]) for n, w in self.weights.items() if w.dim() == 1}
        tensors = {"x": Lines(self.x)} | vectors
        for node, history, start in zip(graph.states, self.histories, self.states, strict=True):
            tensors[f"state.{node.name}"] = Lines(history, start)
        for node, hold in zip(graph.states, self.holds, strict=False):
            tensors[f"hold_{node.name}"] = Lines(hold)
        return tensors

    def chunk(self, name: str, lines: int, columns: int) -> Tensor:
        """Lines for one chunk, in the memory that the chunk before has used for the same."""
        flat = self.buffers.get(name)
        if flat is None or flat.numel() < lines * columns:
            flat = self.buffers[name] = empty(lines, columns, self.x.dtype).flatten()
        return flat[: lines * columns].view(lines, columns)

    def factor(self, matrix: Tensor) -> Tensor:
        """A factor of a large product, rounded if products are in bf16."""
        return matrix.bfloat16().to(matrix.dtype) if self.rounded else matrix

    def _run(self, loop: Loop, first: int, last: int, tensors: Mapping[str, Lines], packed: Sequence[Tensor]) -> Tensor:
        return loop.run(self.span(loop, first, last), tensors, packed, self.sizes)

    def span(self, loop: Loop, first: int, last: int) -> Span:
        """Some steps for a loop, and how threads share them out."""
        if loop not in self.shared:
            self.shared[loop] = shares(self.begins, self.samples, self.sizes, loop.plan)
        return Span(self.steps, self.samples, first, last, self.reverse, self.offsets, *self.shared[loop])

    def _lines(self, first: int, last: int) -> tuple[int, int]:
        low, high = min(first, last), max(first, last)
        return self.begins[low], self.begins[high + 1]

    def _chunks(self) -> list[tuple[int, int]]:
        """First and last step of each chunk, in the order of the way back."""
        ranges, start = [], 0
        for t in range(self.steps):
            if t == self.steps - 1 or self.begins[t + 2] - self.begins[start] > CHUNK:
                ranges.append((start, t))
                start = t + 1
        return ranges if self.reverse else [(b, a) for a, b in reversed(ranges)]

    def _finals(self) -> list[Tensor]:
        if not self.x.shape[0]:
            return [start.clone() for start in self.states]
        if self.offsets is None:
            lines = slice(0, self.samples) if self.reverse else slice(self.x.shape[0] - self.samples, None)
            return [history[lines].clone() for history in self.histories]
        began, last = self._last_lines
        return [torch.where(began, h[last], s) for h, s in zip(self.histories, self.states, strict=True)]

    @cached_property
    def _with_starts(self) -> list[Tensor]:
        """Each history, followed by the lines before its first step."""
        return [torch.cat(pair) for pair in zip(self.histories, self.states, strict=True)]

    @cached_property
    def _counts(self) -> Tensor:
        """How many samples each step has."""
        return torch.tensor(self.begins[1:]) - torch.tensor(self.begins[:-1])

    @cached_property
    def _last_lines(self) -> tuple[Tensor, Tensor]:
        """Which samples have a step at all, `[B, 1]`, and the line after which each ends."""
        sample = torch.arange(self.samples)
        length = (self._counts[None] > sample[:, None]).sum(1)
        last = torch.zeros_like(length) if self.reverse else (length - 1).clamp(min=0)
        return (length > 0)[:, None], torch.where(length > 0, torch.tensor(self.begins)[last] + sample, 0)

    @cached_property
    def _lines_before(self) -> Tensor:
        """For each line that of the step before; the start, which follows the history, where there is none."""
        begins, counts = torch.tensor(self.begins), self._counts
        step = torch.repeat_interleave(torch.arange(self.steps), counts)
        sample = torch.arange(self.x.shape[0]) - begins[step]
        before = step + 1 if self.reverse else step - 1
        inside = (before >= 0) & (before < self.steps)
        before = before.clamp(0, max(self.steps - 1, 0))
        return torch.where(inside & (sample < counts[before]), begins[before] + sample, self.x.shape[0] + sample)

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The place of each line among steps × samples, and which places are taken `[T, B, 1]`; none if all are."""
        if self.offsets is None:
            return torch.arange(self.x.shape[0]), None
        valid = torch.arange(self.samples) < self._counts[:, None]
        return valid.flatten().nonzero()[:, 0], valid[:, :, None]

    def padded(self, lines: Tensor, grid: Tensor) -> Tensor:
        """Lines as `[T, B, size]`, zeros where a sample has ended."""
        full = lines.new_zeros(self.steps * self.samples, lines.shape[1])
        return full.index_copy_(0, grid, lines).view(self.steps, self.samples, -1)

    def previous(self, k: int, first: int, last: int) -> list[tuple[slice, Tensor]]:
        """The values of state `k` before the lines of some steps: pieces of the chunk, and the values there."""
        history, start, B = self.histories[k], self.states[k], self.samples
        begin, end = self._lines(first, last)
        if self.offsets is not None:
            return [(slice(0, end - begin), self._with_starts[k][self._lines_before[begin:end]])]
        if self.reverse and end == history.shape[0]:
            return [(slice(end - begin - B, end - begin), start), (slice(0, end - begin - B), history[begin + B :])]
        if not self.reverse and begin == 0:
            return [(slice(0, B), start), (slice(B, end), history[: end - B])]
        shift = B if self.reverse else -B
        return [(slice(0, end - begin), history[begin + shift : end + shift])]


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


class _WayBack:
    """One run of the backward loop, with the gradients that it adds up chunk by chunk."""

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
        self.d_weights = {n: torch.zeros_like(run.weights[n]) for n in wanted}

    def run(self) -> Gradients:
        """All chunks, last step first."""
        run, known = self.forward, self.forward.known()
        known |= {f"carry.{s.name}": Lines(c) for s, c in zip(self.programs.graph.states, self.carries, strict=True)}
        known["d_output"] = Lines(self._zero_line() if self.d_output is None else self.d_output)
        packed = run.pack(self.loop)
        with self.loop.subnormals_are_zero():  # what is left of a vanishing gradient would slow the products
            for first, last in run._chunks():
                chunk = self._chunk_tensors(first, last)
                vectors = run._run(self.loop, first, last, known | chunk, packed)
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
        begin, end = run._lines(first, last)
        columns = {name: self.loop.columns(name, self.sizes) for name in ("delta", "operand", "d_x")}
        made = {n: Lines(run.chunk(n, end - begin, size), origin=begin) for n, size in columns.items() if size}
        if self.saved is not None:
            return made | {"saved": Lines(self.saved)}
        return made | self._recomputed(first, last)

    def _recomputed(self, first: int, last: int) -> dict[str, Lines]:
        run = self.forward
        if not self.programs.saved:
            return {}
        loop, known, packed = self.again
        begin, end = run._lines(first, last)
        saved = Lines(run.chunk("saved", end - begin, loop.columns("saved", self.sizes)), origin=begin)
        run._run(loop, last, first, known | {"saved": saved}, packed)
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
        sums, factor = dict[tuple[int, int], Tensor](), self.forward.factor
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
        begin, end = run._lines(first, last)
        if row.kind is Kind.PREVIOUS:
            names = [f"state.{s.name}" for s in self.programs.graph.states]
            return run.previous(names.index(row.tensor), first, last)
        if row.tensor == "x":
            return [(slice(0, end - begin), run.x[begin:end])]
        start = row.begin(self.sizes)
        return [(slice(0, end - begin), chunk[row.tensor].tensor[:, start : start + self.sizes[row.width]])]

    def _input(self, chunk: Mapping[str, Lines], first: int, last: int) -> None:
        if self.d_x is None:
            return
        (begin, end), factor = self.forward._lines(first, last), self.forward.factor
        d_x, direct = self.d_x[begin:end], chunk.get("d_x")
        pieces = [piece for piece in self.pieces if piece.operand.tensor == "x"]
        if direct is not None or not pieces:
            d_x.zero_() if direct is None else d_x.copy_(direct.tensor)
        for k, piece in enumerate(pieces):
            delta = factor(chunk["delta"].tensor[:, piece.columns])
            weight = factor(self.forward.weights[piece.weight.name][self._rows_of(piece)])
            d_x.addmm_(delta, weight, beta=0 if k == 0 and direct is None else 1)

"""The native path: a cell's compiled loops over sequences, on plain tensors without autograd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gateflow.compiler.arguments import Lines, Prepared, Span
from gateflow.compiler.blocks import empty
from gateflow.compiler.compiled_cell import Step
from gateflow.compiler.kernel import Loop
from gateflow.compiler.programs import Programs
from gateflow.recurrence.shares import shares

__all__ = ["Sequences"]


@dataclass
class Sequences:
    """A cell's run over sequences.

    Args:
        step: the compiled cell, and the numbers that its step reads now.
        x: input, one line per sample and step: `[lines, I]`, all samples of a step together.
        weights: the cell's weights by name.
        states: what each part of the state starts from, `[B, size]`.
        holds: for each part of the state how much of the old value zoneout keeps, `[lines, size]` or one line for all.
        offsets: where each step begins, `[T + 1]`, samples sorted by falling length; none if all are equally long.
        reverse: whether the cell goes from the last step to the first.
        rounded: whether the factors of all products are rounded to bfloat16; sums and states stay as they are.

    Raises:
        ShapeError: a weight does not have its shape; the loops would read beyond it.
    """

    step: Step
    x: Tensor
    weights: Mapping[str, Tensor]
    states: Sequence[Tensor]
    holds: Sequence[Tensor] = ()
    offsets: Tensor | None = None
    reverse: bool = False
    rounded: bool = False
    histories: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = self.states[0].shape[0]
        lines, samples = self.x.shape[0], max(self.samples, 1)
        self.begins: list[int] = list(range(0, lines + 1, samples)) if self.offsets is None else self.offsets.tolist()
        """The first line of each step, and the number of lines."""
        self.steps = len(self.begins) - 1
        self.sizes = {"P": 0, "H": self.step.cell.hidden_size, "I": self.x.shape[1], "1": 1}
        """What the widths of rows are here."""
        for node, state in zip(self.programs.graph.states, self.states, strict=True):
            self.sizes[node.width] = state.shape[1]
        self.step.cell.check(self.weights, self.states, self.sizes)

    @property
    def programs(self) -> Programs:
        """The plans of the cell's loops."""
        return self.step.cell.programs

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
        if self.steps:
            first, last = (self.steps - 1, 0) if self.reverse else (0, self.steps - 1)
            self.prepare(loop, first, last, tensors)()
        return self.histories, self._finals(), saved

    def loop(self, name: str) -> Loop:
        """A loop of the kernel for these numbers."""
        return self.step.cell.loop(name, self.x.dtype, torch.bfloat16 if self.rounded else None)

    def known(self) -> dict[str, Lines]:
        """The tensors that a loop reads or writes in all chunks alike."""
        graph = self.programs.graph
        tensors = {"x": Lines(self.x)} | {f"weights.{n}": Lines(w) for n, w in self.weights.items()}
        for node, history, start in zip(graph.states, self.histories, self.states, strict=True):
            tensors[f"state.{node.name}"] = Lines(history, start)
        for node, hold in zip(graph.states, self.holds, strict=False):
            tensors[f"hold_{node.name}"] = Lines(hold)
        if self.step.numbers:
            tensors["numbers"] = Lines(torch.tensor([self.step.numbers], dtype=self.x.dtype))
        return tensors

    def prepare(self, loop: Loop, first: int, last: int, tensors: Mapping[str, Lines]) -> Prepared:
        """A run of a loop over some steps."""
        return loop.prepare(self.span(loop, first, last), tensors, self.sizes)

    def span(self, loop: Loop, first: int, last: int) -> Span:
        """Some steps for a loop, and how threads share them out."""
        shared = shares(self.begins, self.samples, self.sizes, loop.plan)
        return Span(self.steps, self.samples, first, last, self.reverse, self.offsets, *shared)

    def _finals(self) -> list[Tensor]:
        if not self.x.shape[0]:
            return [start.clone() for start in self.states]
        if self.offsets is None:
            lines = slice(0, self.samples) if self.reverse else slice(self.x.shape[0] - self.samples, None)
            return [history[lines].clone() for history in self.histories]
        began, last = self._last_lines
        return [torch.where(began, h[last], s) for h, s in zip(self.histories, self.states, strict=True)]

    @cached_property
    def counts(self) -> Tensor:
        """How many samples each step has."""
        return torch.tensor(self.begins[1:]) - torch.tensor(self.begins[:-1])

    @cached_property
    def _last_lines(self) -> tuple[Tensor, Tensor]:
        """Which samples have a step at all, `[B, 1]`, and the line after which each ends."""
        sample = torch.arange(self.samples)
        length = (self.counts[None] > sample[:, None]).sum(1)
        last = torch.zeros_like(length) if self.reverse else (length - 1).clamp(min=0)
        return (length > 0)[:, None], torch.where(length > 0, torch.tensor(self.begins)[last] + sample, 0)

    def grid(self) -> tuple[Tensor, Tensor | None]:
        """The place of each line among steps × samples, and which places are taken `[T, B, 1]`; none if all are."""
        device = self.x.device  # an exported program may have been moved
        if self.offsets is None:
            return torch.arange(self.x.shape[0], device=device), None
        valid = torch.arange(self.samples, device=device) < self.counts.to(device)[:, None]
        return valid.flatten().nonzero()[:, 0], valid[:, :, None]

    def padded(self, lines: Tensor, grid: Tensor) -> Tensor:
        """Lines as `[T, B, size]`, zeros where a sample has ended."""
        full = lines.new_zeros(self.steps * self.samples, lines.shape[1])
        return full.index_copy_(0, grid, lines).view(self.steps, self.samples, -1)

"""A run over sequences as the loops of a kernel are called: its tensors by name, its steps, and the threads' parts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gateflow.backends.base import Sequences
from gateflow.backends.cpu.arguments import Lines, Prepared, Span
from gateflow.backends.cpu.kernel import CompiledLoop, kernel_of
from gateflow.backends.cpu.partition import partition

__all__ = ["Launch"]


class Launch:
    """What all loops over one run have in common.

    Args:
        run: the sequences.

    Attributes:
        begins: the first line of each step, and the number of lines.
    """

    def __init__(self, run: Sequences):
        self.run, self.kernel = run, kernel_of(run.step.cell)
        # A batch may be empty.
        lines, samples = run.x.shape[0], max(run.samples, 1)
        self.begins: list[int] = list(range(0, lines + 1, samples)) if run.offsets is None else run.offsets.tolist()

    def loop(self, name: str) -> CompiledLoop:
        """A loop of the kernel for these numbers."""
        return self.kernel.loop(name, self.run.x.dtype, self.run.products)

    def known(self) -> dict[str, Lines]:
        """The tensors that a loop reads or writes in all chunks alike."""
        run, states = self.run, self.run.step.cell.graph.states
        tensors = {"x": Lines(run.x)} | {f"weights.{n}": Lines(w) for n, w in run.weights.items()}
        for node, history, start in zip(states, run.histories, run.states, strict=True):
            tensors[f"state.{node.name}"] = Lines(history, start)
        # Without zoneout there are no holds.
        for node, hold in zip(states, run.holds, strict=False):
            tensors[f"hold_{node.name}"] = Lines(hold)
        if run.line_of_sizes is not None:
            tensors["sizes"] = Lines(run.line_of_sizes)
        if run.numbers is not None:
            tensors["numbers"] = Lines(run.numbers)
        return tensors

    def prepare(
        self, loop: CompiledLoop, first: int, last: int, tensors: Mapping[str, Lines], panels: Tensor | None = None
    ) -> Prepared:
        """A run of a loop over some steps; `panels` is memory for packed weights."""
        return loop.prepare(self.span(loop, first, last), tensors, self.run.sizes, panels)

    def span(self, loop: CompiledLoop, first: int, last: int) -> Span:
        """Some steps for a loop, and how threads divide them."""
        run = self.run
        shared = partition(self.begins, run.samples, run.sizes, loop.plan)
        return Span(run.steps, run.samples, first, last, run.reverse, run.offsets, shared)

"""A layer run once more, step by step, with every state kept: what the instruments differentiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell

__all__ = ["Pass", "replay"]

State = tuple[Tensor, ...]
Hold = tuple[Tensor | float, ...] | None


@dataclass(eq=False)
class Pass:
    """One cell over consecutive steps, in the order in which it processes them, as the model has just run it.

    Attributes:
        name: where the cell sits in the model, such as `"encoder.l0_reverse"`.
        cell: the equations over the weights that this pass used, cut from the graph.
        x: input `[T, B, I]`, still part of the model's graph, so that it leads to the layers below.
        start: the state before the first step, likewise.
        states: for each part of the state, its values before step 0, 1, … and after the last, `[T + 1, B, size]`.
        lengths: `[B]`, or none if all rows last to the end.
        hold: zoneout, as `recurrence.unroll` takes it.
        reversed: whether step 0 is the end of each sequence.
        y, final: output `[T, B, size]` and final state: leaves, from which the model's graph goes on.
        sequence, offset: which of the cell's sequences this pass belongs to, and the step at which it enters it.
        cut: whether it went on from an earlier pass by value, with the gradient detached.
        adjoint: what `linear.adjoint_of` has prepared.
    """

    name: str
    cell: Cell
    x: Tensor
    start: State
    states: State
    lengths: Tensor | None
    hold: Hold
    reversed: bool
    y: Tensor
    final: State
    sequence: int = 0
    offset: int = 0
    cut: bool = False
    adjoint: Any = None

    @property
    def steps(self) -> int:
        """Number of steps `T`."""
        return self.x.shape[0]

    @property
    def rows(self) -> int:
        """Number of sequences `B`."""
        return self.x.shape[1]

    def valid(self) -> Tensor:
        """`[T, B]`, false where a row has ended."""
        step = torch.arange(self.steps, device=self.x.device)[:, None]
        return step < self._ends()

    def times(self) -> Tensor:
        """`[T, B]`: the time step in the sequence that each processing step is about; -1 where a row has ended."""
        step = torch.arange(self.steps, device=self.x.device)[:, None].expand(self.steps, self.rows)
        time = self._ends() - 1 - step if self.reversed else step
        return torch.where(self.valid(), time + self.offset, -1)

    def _ends(self) -> Tensor:
        everywhere = torch.full((self.rows,), self.steps, device=self.x.device)
        return everywhere if self.lengths is None else self.lengths

    def before(self, rows: slice) -> tuple[Tensor, State]:
        """Input and old state of the flattened `[T · B]` rows of a slice, as leaves."""
        x = self.x.detach().flatten(0, 1)[rows].requires_grad_()
        return x, tuple(part[:-1].flatten(0, 1)[rows].requires_grad_() for part in self.states)

    def advance(self, cell: Cell, x: Tensor, state: State, rows: slice) -> State:
        """One step of `cell` on the flattened `[T · B]` rows of a slice, zoneout included."""
        new = cell.advance(x, state)
        if self.hold is None:
            return new
        holds = (h.flatten(0, 1)[rows] if isinstance(h, Tensor) else h for h in self.hold)
        return tuple(h * old + (1 - h) * n for h, old, n in zip(holds, state, new, strict=True))


@torch.no_grad()
def replay(
    name: str, cell: Cell, x: Tensor, start: State, lengths: Tensor | None, hold: Hold, *, reversed: bool
) -> Pass:
    """Runs `cell` over `x [T, B, I]`, given in processing order, and keeps the states."""
    cell = cell.over({n: w.detach() for n, w in cell._parameters.items() if w is not None})
    done = Pass(name, cell, x, start, (), lengths, hold, reversed, x, ())
    bound, state, kept, valid = cell.bind(), start, [start], done.valid()[..., None]
    for t, x_t in enumerate(x.unbind(0)):
        new = done.advance(bound, x_t, state, slice(t * done.rows, (t + 1) * done.rows))
        if lengths is not None:
            new = tuple(torch.where(valid[t], n, old) for n, old in zip(new, state, strict=True))
        state = new
        kept.append(state)
    done.states = tuple(torch.stack(parts).detach() for parts in zip(*kept, strict=True))
    done.y = done.states[0][1:].clone().requires_grad_()
    done.final = tuple(part[-1].clone().requires_grad_() for part in done.states)
    return done

"""A layer run once more, step by step, with every state kept: what the instruments differentiate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.recurrence import histories

__all__ = ["HALF", "Pass", "replay"]

WORTH_A_KERNEL = 1 << 24
"""`T · B · I · H` from which on a loop in Python takes longer than a kernel, even if that has to be built."""

HALF = (torch.bfloat16, torch.float16)
"""Types in which a product of many Jacobians would be rounding: what has them is followed in float32."""

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
        valid: `[T, B, 1]`, false where a row has ended (or, in reverse, not yet begun); none if all rows are full.
        hold: zoneout, as `recurrence.unroll` takes it.
        reversed: whether step 0 is the last time step.
        y, final: output `[T, B, size]` and final state: leaves, from which the model's graph goes on, of its own type.
        sequence, offset: which of the cell's sequences this pass belongs to, and the step at which it enters it.
        cut: whether it went on from an earlier pass by value, with the gradient detached.
        adjoint: what `adjoint.adjoint_of` has prepared.
    """

    name: str
    cell: Cell
    x: Tensor
    start: State
    states: State
    valid: Tensor | None
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

    @property
    def title(self) -> str:
        """The name, with the number of the sequence if the model runs the cell over several."""
        return self.name if self.sequence == 0 else f"{self.name} (call {self.sequence + 1})"

    def time(self, p: int) -> int:
        """The time step in the sequence that processing step `p` is about."""
        return self.offset + (self.steps - 1 - p if self.reversed else p)

    def there(self) -> Tensor:
        """`[T, B]` in processing order, false where a row has nothing."""
        whole = torch.ones(self.steps, self.rows, dtype=torch.bool, device=self.x.device)
        return whole if self.valid is None else self.valid[..., 0]

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
    name: str,
    cell: Cell,
    x: Tensor,
    start: State,
    *,
    valid: Tensor | None = None,
    hold: Hold = None,
    reversed: bool = False,
) -> Pass:
    """Runs `cell` over `x [T, B, I]`, given in processing order, and keeps the states. Autocast stays outside."""
    weights = {n: w.detach() for n, w in cell._parameters.items() if w is not None}
    own = next(iter(weights.values())).dtype
    dtype = torch.float32 if own in HALF else own
    weights = {n: w.to(dtype) for n, w in weights.items()}
    with torch.enable_grad():
        x, start = x.to(dtype), tuple(part.to(dtype) for part in start)
    done = Pass(name, cell.over(weights), x, start, (), valid, hold, reversed, x, ())
    with torch.autocast(x.device.type, enabled=False):
        done.states = _at_once(done) or tuple(torch.stack(parts) for parts in zip(*_states(done), strict=True))
    done.y = done.states[0][1:].to(own, copy=True).requires_grad_()
    done.final = tuple(part[-1].to(own, copy=True).requires_grad_() for part in done.states)
    return done


def _at_once(done: Pass) -> State | None:
    """All states by the cell's kernel, where it is worth building one and all rows go the same way."""
    if done.valid is not None or done.hold is not None or done.x.numel() * done.y.shape[-1] < WORTH_A_KERNEL:
        return None
    after = histories(done.cell, done.x, done.start)
    return after and tuple(torch.cat([a[None], b]) for a, b in zip(done.start, after, strict=True))


def _states(done: Pass) -> Iterator[State]:
    """The state before the first step and after each."""
    cell, state = done.cell.bind(), done.start
    yield state
    for p, x in enumerate(done.x.unbind(0)):
        new = done.advance(cell, x, state, slice(p * done.rows, (p + 1) * done.rows))
        if done.valid is not None:
            new = tuple(torch.where(done.valid[p], n, old) for n, old in zip(new, state, strict=True))
        state = new
        yield state

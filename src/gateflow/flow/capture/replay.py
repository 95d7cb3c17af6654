"""A layer run once more, step by step, with every state kept: what the instruments differentiate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.recurrence import histories

__all__ = ["HALF", "Change", "Hold", "Replay", "State", "replay_cell"]

# `T · B · I · H` from which on a loop in Python takes longer than a kernel, even
# if that has to be built: a compiler takes seconds, a short loop milliseconds.
WORTH_A_KERNEL = 1 << 24

# Types in which a product of many Jacobians would be rounding: what has them is followed in float32. bfloat16
# has 8 bits of significand, so that a product is off by up to 0.4 %, and a hundred of them by up to 40 %.
HALF = (torch.bfloat16, torch.float16)

State = tuple[Tensor, ...]
# A step in place of the cell's own: it is given the replay, the processing step, the cell, its input and its state.
Change = Callable[["Replay", int, Cell, Tensor, State], State]
Hold = tuple[Tensor | float, ...] | None


@dataclass(eq=False)
class Replay:
    """One cell over consecutive steps, run again step by step, in the order in which the model has just processed them.

    Attributes:
        name: where the cell sits in the model, such as `"encoder.l0_reverse"`.
        cell: the equations over the weights that the model used, cut from the graph.
        x: input `[T, B, I]`, still part of the model's graph, so that it leads to the layers below.
        start: the state before the first step, likewise.
        states: for each part of the state, its values before step 0, 1, … and after the last, `[T + 1, B, size]`.
        valid: `[T, B, 1]`, false where a row has ended (or, in reverse, not yet begun); none if all rows are full.
        hold: zoneout, as `recurrence.unroll` takes it.
        reversed: whether step 0 is the last time step.
        y, final: output `[T, B, size]` and final state: leaves, from which the model's graph goes on, of its own type.
        sequence, offset: which of the cell's sequences these steps belong to, and the step at which they enter it.
        cut: whether it went on from an earlier replay by value, with the gradient detached.
        adjoint: what `adjoint.adjoint_of` has prepared, once for all instruments that take this trace.
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

    def previous(self, rows: slice) -> tuple[Tensor, State]:
        """Input and previous state of the flattened `[T · B]` rows of a slice, as leaves."""
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
def replay_cell(
    name: str,
    cell: Cell,
    x: Tensor,
    start: State,
    *,
    valid: Tensor | None = None,
    hold: Hold = None,
    reversed: bool = False,
    change: Change | None = None,
) -> Replay:
    """Runs `cell` over `x [T, B, I]`, given in processing order, and keeps the states. Autocast stays outside.

    With `change` its steps are those that `change` makes.
    """
    # Detached: what is asked is `∂E/∂s`, and no instrument's graph has to lead on to the weights.
    weights = {n: w.detach() for n, w in cell._parameters.items() if w is not None}
    own = next(iter(weights.values())).dtype
    dtype = torch.float32 if own in HALF else own
    weights = {n: w.to(dtype) for n, w in weights.items()}
    # The conversion has to be in the model's graph: a gradient goes down through it to the layers below.
    with torch.enable_grad():
        x, start = x.to(dtype), tuple(part.to(dtype) for part in start)
    replay = Replay(name, cell.over(weights), x, start, (), valid, hold, reversed, x, ())
    # A run under autocast rounds products to 16 bits; the steps are followed in the type of the weights.
    with torch.autocast(x.device.type, enabled=False):
        at_once = _at_once(replay) if change is None else None
        replay.states = at_once or tuple(torch.stack(part) for part in zip(*_states(replay, change), strict=True))
    # Copies, even where the type is the same already: what shares memory with
    # `states` would change them if the rest of the model changed its input in place.
    replay.y = replay.states[0][1:].to(own, copy=True).requires_grad_()
    replay.final = tuple(part[-1].to(own, copy=True).requires_grad_() for part in replay.states)
    return replay


def _at_once(replay: Replay) -> State | None:
    """All states by the cell's kernel, where it is worth building one and all rows go the same way."""
    # The kernel's histories know neither lengths nor zoneout of their own; `_states` has both.
    if replay.valid is not None or replay.hold is not None or replay.x.numel() * replay.y.shape[-1] < WORTH_A_KERNEL:
        return None
    after = histories(replay.cell, replay.x, replay.start)
    return after and tuple(torch.cat([a[None], b]) for a, b in zip(replay.start, after, strict=True))


def _states(replay: Replay, change: Change | None) -> Iterator[State]:
    """The state before the first step and after each."""
    cell, state = replay.cell.bind(), replay.start
    yield state
    for p, x in enumerate(replay.x.unbind(0)):
        rows = slice(p * replay.rows, (p + 1) * replay.rows)
        new = replay.advance(cell, x, state, rows) if change is None else change(replay, p, cell, x, state)
        # Where a row has ended its state stands still, so that `states[-1]` is every row's final state.
        if replay.valid is not None:
            new = tuple(torch.where(replay.valid[p], n, old) for n, old in zip(new, state, strict=True))
        state = new
        yield state

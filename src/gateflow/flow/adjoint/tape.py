"""One step of a cell, taken apart: the products and norms it calls by name, and the unit-wise functions between.

`Γ_u = σ(W_u c + U_u x + b_u)` becomes `z = W_u c + U_u x + b_u`, a product, and `Γ_u = σ(z)`, a function of each unit
by itself. Cut at each `z`, what is left of a step has a diagonal Jacobian, for all units, rows and time steps at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gateflow.cells import Cell, Gate
from gateflow.flow.capture.replay import Replay, State

__all__ = ["Tape", "TapedCall", "record"]


@dataclass(eq=False)
class TapedCall:
    """One call of a gate, matrix or norm.

    Attributes:
        name: as the cell declares it.
        z: its value, cut from the graph.
        products: each weight `[size(z), size(e)]` with the tensor `e` that it multiplies.
        normed: what a layer norm was given; none for products.
    """

    name: str
    z: Tensor
    products: tuple[tuple[Tensor, Tensor], ...] = ()
    normed: Tensor | None = None


@dataclass(eq=False)
class Tape:
    """A step's named calls in their order, between its inputs and its new state."""

    x: Tensor
    states: State
    calls: list[TapedCall]
    new: State


@torch.enable_grad()
def record(replay: Replay, watch: Any = None) -> Tape:
    """Runs one step of a replay's cell on all its steps at once, `[T · B]` rows: the states are known, so none waits.

    Args:
        replay: whose cell, input and states.
        watch: a context manager that sees the step run.
    """
    x, states = replay.previous(slice(None))
    tape = Tape(x, states, [], ())
    # `bind` makes a cell of its own, so that what is put in the places of its gates is in no other cell.
    cell = replay.cell.bind()
    parts = vars(cell)
    for name in (*cell.gates, *cell.inputs, *cell.matrices, *cell.norms):
        parts[name] = (
            _TapedGate(tape, name, parts[name]) if name in cell.gates else _call(tape, cell, name, parts[name])
        )
    if watch is None:
        tape.new = replay.advance(cell, x, states, slice(None))
    else:
        with watch:
            tape.new = replay.advance(cell, x, states, slice(None))
    return tape


class _TapedGate(Gate):
    """A gate that writes its calls down.

    Reset-after cells call the two halves by themselves, with something in between: then each is a call of its own.
    """

    def __init__(self, tape: Tape, name: str, gate: Gate):
        super().__init__(gate.weight_ih, gate.weight_hh, gate.bias_ih, gate.bias_hh)
        self.tape, self.name = tape, name

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        value = super().input(x) + super().recurrent(state)
        return _write(self.tape, self.name, value, (self.weight_hh, state), (self.weight_ih, x))

    def input(self, x: Tensor) -> Tensor:
        return _write(self.tape, self.name, super().input(x), (self.weight_ih, x))

    def recurrent(self, state: Tensor) -> Tensor:
        return _write(self.tape, self.name, super().recurrent(state), (self.weight_hh, state))


def _call(tape: Tape, cell: Cell, name: str, leaf: Any) -> Callable[[Tensor], Tensor]:
    """An input map, matrix or norm that writes its calls down."""

    def call(e: Tensor) -> Tensor:
        if name in cell.norms:
            tape.calls.append(TapedCall(name, _cut(leaf(e)), normed=e))
            return tape.calls[-1].z
        return _write(tape, name, leaf(e), (leaf.weight, e))

    return call


def _write(tape: Tape, name: str, value: Tensor, *products: tuple[Tensor, Tensor]) -> Tensor:
    tape.calls.append(TapedCall(name, _cut(value), products))
    return tape.calls[-1].z


def _cut(value: Tensor) -> Tensor:
    # Detached, what follows no longer leads to the products:
    # its Jacobian is taken with respect to `z`, unit by unit.
    return value.detach().requires_grad_()

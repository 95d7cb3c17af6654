"""Products of a step made together: those of the input for all steps at once, those of one state as one product.

    f = σ(W_f h + U_f x_t)          U_f x, U_g x = split([U_f U_g] x)       for all t, before the loop
    g = tanh(W_g h + U_g x_t)   →   W_f h, W_g h = split([W_f W_g] h)       at each step

The compiler does the same with its graph. Here the step stays what it is, and its gates know the products: for a loop
that others run, of cells that need not compile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from gateflow.cells import Cell, Gate

__all__ = ["Joined"]

_RECURRENT = ("weight_hh", "bias_hh")


@dataclass(frozen=True)
class Joined:
    """Which products of a step are of the input, and which of a part of the state, as these are given to it.

    Attributes:
        inputs: names of gates and of maps of the input.
        states: for each part of the state the names of gates.
    """

    inputs: tuple[str, ...]
    states: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, cell: Cell) -> Joined:
        """What one step multiplies with what, found by a step without numbers."""
        # A cell with leaves of its own is left alone.
        if any(getattr(type(cell), name) is not getattr(Cell, name) for name in ("bind", "over", "_leaves")):
            return cls((), ((),) * len(cell.states))
        seen: list[tuple[str, Tensor]] = []
        # Without `no_grad`, which an export would write down; these weights ask for no gradient.
        with _disable_current_modes():
            weights = {n: torch.empty(shape, device="meta") for n, shape in cell.parameter_shapes().items()}
            trial, x = cell.over(weights).bind(), torch.empty(2, cell.row_size, device="meta")
            vars(trial).pop("_origin")  # what a step sets is of the trial
            state = trial.initial_state(x)
            for name in _places(cell):
                vars(trial)[name] = _Watched(vars(trial)[name], name, seen)
            trial.advance(x, state)
        used = [tuple(n for n in _places(cell) if any(s == n and t is part for s, t in seen)) for part in (x, *state)]
        return cls(used[0], tuple(used[1:]))

    def of_input(self, cell: Cell, x: Tensor) -> list[Tensor]:
        """The products of the input `[T, B, I]` for all steps, one for each of `inputs`."""
        if not self.inputs:
            return []
        product = F.linear(x, *(_rows(cell, which, self.inputs) for which in ("weight_ih", "bias_ih")))  # pyright: ignore
        return list(product.chunk(len(self.inputs), dim=-1))

    def weights(self, cell: Cell) -> list[Tensor]:
        """The weights that multiply the parts of the state, and their biases, but for what the cell has whole."""
        found = [_rows(cell, which, names) for names in self.states if names for which in _RECURRENT]
        # What is handed over twice torch takes for aliases, and refuses.
        return [rows for rows in found if rows is not None and not any(rows is w for w in cell._parameters.values())]

    def bound(
        self, cell: Cell, x: Tensor, state: Sequence[Tensor], of_input: Sequence[Tensor], weights: Iterator[Tensor]
    ) -> Cell:
        """The cell, bound, whose gates know their products of this input and this state."""
        view = cell.bind()
        known: list[tuple[str, Tensor, Tensor]] = [(n, x, p) for n, p in zip(self.inputs, of_input, strict=True)]
        for names, part in zip(self.states, state, strict=True):
            if names:
                product = F.linear(part, *(self._joined(cell, which, names, weights) for which in _RECURRENT))
                known += [(n, part, p) for n, p in zip(names, product.chunk(len(names), dim=-1), strict=True)]
        for name in {name for name, *_ in known}:
            vars(view)[name] = _Knowing(vars(view)[name], [(t, p) for n, t, p in known if n == name])
        return view

    def _joined(self, cell: Cell, which: str, names: Sequence[str], weights: Iterator[Tensor]) -> Any:
        """What multiplies a part of the state: the cell's own where that is all of it, else what `weights` has made."""
        weight = cell._parameters.get(which)
        whole = weight is None or len(names) * cell.hidden_size == weight.shape[0]
        return weight if whole else next(weights)


class _Watched(Gate):
    """A gate, or a map of the input, that writes down what it multiplies."""

    def __init__(self, leaf: Any, name: str, seen: list[tuple[str, Tensor]]):
        self.leaf, self.name, self.seen = leaf, name, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.leaf, name)

    def __call__(self, *operands: Tensor) -> Tensor:
        return super().__call__(*operands) if isinstance(self.leaf, Gate) else self.input(*operands)

    def input(self, x: Tensor) -> Tensor:
        """As the leaf's."""
        self.seen.append((self.name, x))
        return self.leaf.input(x) if isinstance(self.leaf, Gate) else self.leaf(x)

    def recurrent(self, state: Tensor) -> Tensor:
        """As the gate's."""
        self.seen.append((self.name, state))
        return self.leaf.recurrent(state)


class _Knowing(_Watched):
    """One that knows some of its products, by the tensor that they are of."""

    def __init__(self, leaf: Any, known: list[tuple[Tensor, Tensor]]):
        super().__init__(leaf, "", [])
        self.known = known

    def _known(self, operand: Tensor) -> Tensor | None:
        return next((product for of, product in self.known if of is operand), None)

    def input(self, x: Tensor) -> Tensor:
        """As the leaf's."""
        known = self._known(x)
        return super().input(x) if known is None else known

    def recurrent(self, state: Tensor) -> Tensor:
        """As the gate's."""
        known = self._known(state)
        return super().recurrent(state) if known is None else known


def _places(cell: Cell) -> dict[str, int]:
    """Which rows of the fused weights belong to a gate or a map of the input: those of block `k`."""
    return {name: k for k, name in enumerate((*cell.gates, *cell.inputs))}


def _rows(cell: Cell, which: str, names: Sequence[str]) -> Tensor | None:
    """The rows of a fused weight or bias that belong to some gates: itself, if these are all."""
    weight, H = cell._parameters.get(which), cell.hidden_size
    blocks = [_places(cell)[name] for name in names]
    if weight is None or blocks == list(range(weight.shape[0] // H)):
        return weight
    return torch.cat([weight[k * H : (k + 1) * H] for k in blocks])

"""The adjoint of a step that works on each unit by itself between its products and norms.

Cut at the products, the step's Jacobian is diagonal: a few element-wise factors, computed once for all time steps. What
is left for each step is one matrix product per weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gateflow.flow.adjoint.cotangent_buffers import Paths, Slots
from gateflow.flow.adjoint.tape import Piece, record
from gateflow.flow.capture.replay import Pass

__all__ = ["MixesUnitsError", "UnitWise"]


class MixesUnitsError(Exception):
    """A step has no diagonal Jacobian between its products; never seen outside this package."""


class UnitWise:
    """`g ↦ Jᵀ g` for the steps of a pass; wrong for a step that mixes units in any other way.

    Raises:
        MixesUnitsError: the shapes inside the step say already that it does.
    """

    def __init__(self, done: Pass):
        tape = record(done)
        inputs = [tape.x, *tape.states, *(piece.z for piece in tape.pieces)]
        self.pieces, self.first = tape.pieces, 1 + len(tape.states)
        self.new = [_paths(part, inputs) for part in tape.new]
        self.behind = {id(e): _paths(e, inputs) for piece in tape.pieces for e in _arguments(piece)}
        self.joint = [_joined(tape.pieces, inputs[j], self.first) for j in range(self.first)]
        self.norms = [None if piece.normed is None else _Norm(done, piece) for piece in tape.pieces]
        self.slots = Slots([tensor.shape[-1] for tensor in inputs], self.first - 1)

    @torch.no_grad()
    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        """See `Adjoint`."""
        slots = self.slots
        slots.open(g[0], out, wants_x)
        for part, paths in zip(g, self.new, strict=True):
            self._spread(part, paths, rows)
        for k in reversed(range(len(self.pieces))):
            self._carry_on(k, rows)
        for j, (weight, members) in enumerate(self.joint):
            if members:
                slots.add_product(j, members, weight)
        to_x, *_ = [slots.take(j) for j in range(self.first)]
        return to_x

    def _carry_on(self, k: int, rows: slice) -> None:
        """From a piece to what it was given, unless that is an input of the step, whose products are done jointly."""
        piece, g = self.pieces[k], self.slots.take(self.first + k)
        assert g is not None
        if (norm := self.norms[k]) is not None:
            self._spread(norm.back(g, rows), self.behind[id(piece.normed)], rows)
        for weight, e in piece.products:
            if not _is_input(self.behind[id(e)], self.first):
                self._spread(g @ weight, self.behind[id(e)], rows)

    def _spread(self, g: Tensor, paths: Paths, rows: slice) -> None:
        for j, factor in paths:
            self.slots.add(j, g, None if factor is None else factor[rows])


class _Norm:
    """Layer norm's adjoint: `rstd · (w g - mean(w g) - n · mean(w g ∘ n))` with `n` the normalised row."""

    def __init__(self, done: Pass, piece: Piece):
        assert piece.normed is not None
        row, weight = piece.normed.detach(), done.cell._parameters[f"{piece.name}_weight"]
        assert weight is not None
        self.weight, self.scale = weight, (row.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
        self.row = (row - row.mean(-1, keepdim=True)) * self.scale

    def back(self, g: Tensor, rows: slice) -> Tensor:
        g, row = g * self.weight, self.row[rows]
        return self.scale[rows] * (g - g.mean(-1, keepdim=True) - row * (g * row).mean(-1, keepdim=True))


def _arguments(piece: Piece) -> list[Tensor]:
    return [e for _, e in piece.products] if piece.normed is None else [piece.normed]


def _paths(tensor: Tensor, inputs: list[Tensor]) -> Paths:
    """The diagonal of the Jacobian with respect to each input that matters."""
    for j, given in enumerate(inputs):
        if tensor is given:
            return [(j, None)]
    if not tensor.requires_grad:
        return []
    found = torch.autograd.grad(tensor, inputs, torch.ones_like(tensor), retain_graph=True, allow_unused=True)
    paths = [(j, factor) for j, factor in enumerate(found) if factor is not None]
    if any(factor.shape != tensor.shape for _, factor in paths):
        raise MixesUnitsError
    return [*paths]


def _is_input(paths: Paths, first: int) -> bool:
    return len(paths) == 1 and paths[0][1] is None and paths[0][0] < first


def _joined(pieces: list[Piece], given: Tensor, first: int) -> tuple[Tensor, list[int]]:
    """All weights that multiply an input itself, one below the other, and whose they are."""
    found = [(weight, first + k) for k, piece in enumerate(pieces) for weight, e in piece.products if e is given]
    weights = [weight for weight, _ in found]
    return torch.cat(weights) if weights else given.new_empty(0), [k for _, k in found]

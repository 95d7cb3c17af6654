"""The adjoint of one step, `g ↦ Jᵀ g`, for many cotangents at once: what a backward sweep multiplies by.

Between its products a step is unit-wise, so `Jᵀ` is a handful of element-wise factors, computed once for all time
steps, and one matrix product per weight. A cell whose step mixes units in any other way is told apart by a trial with
random cotangents and left to autograd, which is slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gateflow.flow.replay import Pass
from gateflow.flow.slots import Paths, Slots
from gateflow.flow.tape import Piece, record

__all__ = ["Adjoint", "adjoint_of"]


class Adjoint(Protocol):
    """`g ↦ Jᵀ g` of a step."""

    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        """Takes the cotangents `g [m, R, size]` of a step's new state to those of its old state, written to `out`.

        `rows` are the `R` of the pass's flattened `[T · B]` rows. Returns the cotangent of `x` if wanted; it lies in
        memory that the next call uses again.
        """
        ...


def adjoint_of(done: Pass) -> Adjoint:
    """The adjoint of the steps of a pass, prepared once."""
    if done.adjoint is None:
        by_autograd, tape = _ByAutograd(done), record(done)
        inputs = [tape.x, *tape.states, *(piece.z for piece in tape.pieces)]
        outputs = [*tape.new, *(e for piece in tape.pieces for e in _arguments(piece))]
        paths = [_paths(tensor, inputs) for tensor in outputs]
        done.adjoint = by_autograd
        if all(found is not None for found in paths):
            unit_wise = _UnitWise(done, tape.pieces, inputs, outputs, paths)
            done.adjoint = unit_wise if _agree(unit_wise, by_autograd, done) else by_autograd
    return done.adjoint


class _ByAutograd:
    """Any step at all."""

    def __init__(self, done: Pass):
        self.done, self.cell = done, done.cell.bind()

    @torch.enable_grad()
    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        x, states = self.done.before(rows)
        new = self.done.advance(self.cell, x, states, rows)
        options: dict[str, Any] = {"is_grads_batched": True, "allow_unused": True, "materialize_grads": True}
        to_x, *to_states = torch.autograd.grad(new, (x, *states), tuple(g), **options)
        for there, part in zip(out, to_states, strict=True):
            there.copy_(part)
        return to_x if wants_x else None


class _UnitWise:
    """A step that works on each unit by itself between its products and norms."""

    def __init__(self, done: Pass, pieces: list[Piece], inputs: list[Tensor], outputs: list[Tensor], paths: list[Any]):
        self.pieces, self.first = pieces, len(inputs) - len(pieces)
        self.new: list[Paths] = paths[: self.first - 1]
        self.behind: dict[int, Paths] = {id(e): path for e, path in zip(outputs, paths, strict=True)}
        self.joint = [_joined(pieces, inputs[j], self.first) for j in range(self.first)]
        self.norms = [None if piece.normed is None else _Norm(done, piece) for piece in pieces]
        self.slots = Slots([tensor.shape[-1] for tensor in inputs], self.first - 1)

    @torch.no_grad()
    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
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


def _paths(tensor: Tensor, inputs: list[Tensor]) -> Paths | None:
    """The diagonal of the Jacobian with respect to each input; none if the shapes say that it cannot be diagonal."""
    for j, given in enumerate(inputs):
        if tensor is given:
            return [(j, None)]
    if not tensor.requires_grad:
        return []
    found = torch.autograd.grad(tensor, inputs, torch.ones_like(tensor), retain_graph=True, allow_unused=True)
    paths = [(j, factor) for j, factor in enumerate(found) if factor is not None]
    return paths if all(factor.shape == tensor.shape for _, factor in paths) else None  # type: ignore[return-value]


def _is_input(paths: Paths, first: int) -> bool:
    return len(paths) == 1 and paths[0][1] is None and paths[0][0] < first


def _joined(pieces: list[Piece], given: Tensor, first: int) -> tuple[Tensor, list[int]]:
    """All weights that multiply an input itself, one below the other, and whose they are."""
    found = [(weight, first + k) for k, piece in enumerate(pieces) for weight, e in piece.products if e is given]
    weights = [weight for weight, _ in found]
    return torch.cat(weights) if weights else given.new_empty(0), [k for _, k in found]


def _agree(one: Adjoint, other: Adjoint, done: Pass) -> bool:
    """Whether two adjoints answer alike for random cotangents, which no wrong one does but by a miracle."""
    generator, rows = torch.Generator().manual_seed(0), slice(0, 64)
    sizes = [part[1:].flatten(0, 1)[None, rows] for part in done.states]
    g = [torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like) for like in sizes]
    near = torch.finfo(done.x.dtype).eps ** 0.5
    pairs = zip(_answer(one, rows, g), _answer(other, rows, g), strict=True)
    return all(torch.allclose(a, b, near, near * float(b.abs().max())) for a, b in pairs)


def _answer(adjoint: Adjoint, rows: slice, g: list[Tensor]) -> list[Tensor]:
    out = [torch.empty_like(part) for part in g]
    to_x = adjoint.back(rows, g, out, True)
    assert to_x is not None
    return [*out, to_x]

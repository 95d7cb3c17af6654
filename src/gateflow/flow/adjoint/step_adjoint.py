"""The adjoint of one step, `g ↦ Jᵀ g`, for many cotangents at once: what a backward sweep multiplies by.

Nearly every cell is unit-wise between its products, and has a fast adjoint. One whose step mixes units in another way
is told apart by a trial with random cotangents and left to autograd.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gateflow.flow.adjoint.unit_wise import MixesUnitsError, UnitWise
from gateflow.flow.capture.replay import Replay

__all__ = ["Adjoint", "adjoint_of"]


class Adjoint(Protocol):
    """`g ↦ Jᵀ g` of a step."""

    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        """Takes the cotangents `g [m, R, size]` of a step's new state to those of its previous state, written to `out`.

        `rows` are the `R` of the replay's flattened `[T · B]` rows. Returns the cotangent of `x` if wanted; it lies in
        memory that the next call uses again.
        """
        ...


def adjoint_of(replay: Replay) -> Adjoint:
    """The adjoint of the steps of a replay, prepared once."""
    if replay.adjoint is None:
        replay.adjoint = by_autograd = _ByAutograd(replay)
        with contextlib.suppress(MixesUnitsError):
            unit_wise = UnitWise(replay)
            replay.adjoint = unit_wise if _agree(unit_wise, by_autograd, replay) else by_autograd
    return replay.adjoint


class _ByAutograd:
    """Any step at all, by its forward once more and a batched backward."""

    def __init__(self, replay: Replay):
        self.replay, self.cell = replay, replay.cell.bind()

    @torch.enable_grad()
    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        x, states = self.replay.previous(rows)
        new = self.replay.advance(self.cell, x, states, rows)
        options: dict[str, Any] = {"is_grads_batched": True, "allow_unused": True, "materialize_grads": True}
        to_x, *to_states = torch.autograd.grad(new, (x, *states), tuple(g), **options)
        for there, part in zip(out, to_states, strict=True):
            there.copy_(part)
        return to_x if wants_x else None


def _agree(one: Adjoint, other: Adjoint, replay: Replay) -> bool:
    """Whether two adjoints answer alike for random cotangents, which no wrong one does but by a miracle."""
    # 64 rows are enough: a cell that mixes units does so in every row. Drawn
    # as float64 and converted, so that the trial, and with it the choice of
    # the adjoint, is the same for a model in float32 and in float64.
    generator, rows = torch.Generator().manual_seed(0), slice(0, 64)
    sizes = [part[1:].flatten(0, 1)[None, rows] for part in replay.states]
    g = [torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like) for like in sizes]
    # The square root of the resolution: far above what another order of summing
    # does (some eps), far below what a missing path makes (some percent).
    near = torch.finfo(replay.x.dtype).eps ** 0.5
    pairs = zip(_answer(one, rows, g), _answer(other, rows, g), strict=True)
    return all(torch.allclose(a, b, near, near * float(b.abs().max())) for a, b in pairs)


def _answer(adjoint: Adjoint, rows: slice, g: list[Tensor]) -> list[Tensor]:
    out = [torch.empty_like(part) for part in g]
    to_x = adjoint.back(rows, g, out, True)
    assert to_x is not None
    return [*out, to_x]

"""The adjoint of a step that works on each unit by itself between its products and norms.

Cut at the products, the step's Jacobian is diagonal: a few element-wise factors, computed once for all time steps. What
is left for each step is one matrix product per weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gateflow.flow.adjoint.cotangent_buffers import CotangentBuffers, Paths
from gateflow.flow.adjoint.tape import TapedCall, record
from gateflow.flow.capture.replay import Replay

__all__ = ["MixesUnitsError", "UnitWise"]


class MixesUnitsError(Exception):
    """A step has no diagonal Jacobian between its products; never seen outside this package."""


class UnitWise:
    """`g ↦ Jᵀ g` for the steps of a replay; wrong for a step that mixes units in any other way.

    Raises:
        MixesUnitsError: the shapes inside the step say already that it does.
    """

    def __init__(self, replay: Replay):
        tape = record(replay)
        inputs = [tape.x, *tape.states, *(call.z for call in tape.calls)]
        self.calls, self.first = tape.calls, 1 + len(tape.states)
        self.new = [_paths(part, inputs) for part in tape.new]
        # By `id`, for the tape keeps them alive: the same tensor may be given to several products.
        self.behind = {id(e): _paths(e, inputs) for call in tape.calls for e in _arguments(call)}
        # What multiplies an input of the step itself (for an LSTM all four gates, of
        # `x` and of `h`) is one product per input: that is where nearly all of the
        # work is, and a BLAS is faster at one large product than at four small ones.
        self.joint = [_joined(tape.calls, inputs[j], self.first) for j in range(self.first)]
        self.norms = [None if call.normed is None else _NormAdjoint(replay, call) for call in tape.calls]
        self.buffers = CotangentBuffers([tensor.shape[-1] for tensor in inputs], self.first - 1)

    @torch.no_grad()
    def back(self, rows: slice, g: Sequence[Tensor], out: Sequence[Tensor], wants_x: bool) -> Tensor | None:
        """See `Adjoint`."""
        buffers = self.buffers
        buffers.open(g[0], out, wants_x)
        for part, paths in zip(g, self.new, strict=True):
            self._spread(part, paths, rows)
        # Backward in the order of the calls: all that depends
        # on a call's value has been added when it is taken.
        for k in reversed(range(len(self.calls))):
            self._carry_on(k, rows)
        for j, (weight, members) in enumerate(self.joint):
            if members:
                buffers.add_product(j, members, weight)
        to_x, *_ = [buffers.take(j) for j in range(self.first)]
        return to_x

    def _carry_on(self, k: int, rows: slice) -> None:
        """From a call to what it was given, unless that is an input of the step, whose products are done jointly."""
        call, g = self.calls[k], self.buffers.take(self.first + k)
        assert g is not None
        if (norm := self.norms[k]) is not None:
            self._spread(norm.back(g, rows), self.behind[id(call.normed)], rows)
        for weight, e in call.products:
            if not _is_input(self.behind[id(e)], self.first):
                self._spread(g @ weight, self.behind[id(e)], rows)

    def _spread(self, g: Tensor, paths: Paths, rows: slice) -> None:
        for j, factor in paths:
            self.buffers.add(j, g, None if factor is None else factor[rows])


class _NormAdjoint:
    """Layer norm's adjoint: `rstd · (w g - mean(w g) - n · mean(w g ∘ n))` with `n` the normalised row."""

    def __init__(self, replay: Replay, call: TapedCall):
        assert call.normed is not None
        row, weight = call.normed.detach(), replay.cell._parameters[f"{call.name}_weight"]
        assert weight is not None
        # 1e-5 as in `cells.cell` and in torch's layer norm;
        # the variance without Bessel's correction, likewise.
        self.weight, self.scale = weight, (row.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
        self.row = (row - row.mean(-1, keepdim=True)) * self.scale

    def back(self, g: Tensor, rows: slice) -> Tensor:
        g, row = g * self.weight, self.row[rows]
        return self.scale[rows] * (g - g.mean(-1, keepdim=True) - row * (g * row).mean(-1, keepdim=True))


def _arguments(call: TapedCall) -> list[Tensor]:
    return [e for _, e in call.products] if call.normed is None else [call.normed]


def _paths(tensor: Tensor, inputs: list[Tensor]) -> Paths:
    """The diagonal of the Jacobian with respect to each input that matters."""
    for j, given in enumerate(inputs):
        if tensor is given:
            return [(j, None)]
    if not tensor.requires_grad:
        return []
    # The gradient of the sum over units is the diagonal of the Jacobian only if there
    # is nothing off the diagonal: `step_adjoint._agree` finds out whether that holds.
    found = torch.autograd.grad(tensor, inputs, torch.ones_like(tensor), retain_graph=True, allow_unused=True)
    paths = [(j, factor) for j, factor in enumerate(found) if factor is not None]
    # Another width than its own: a projection, or a mean over units. Nothing unit-wise has that.
    if any(factor.shape != tensor.shape for _, factor in paths):
        raise MixesUnitsError
    return [*paths]


def _is_input(paths: Paths, first: int) -> bool:
    return len(paths) == 1 and paths[0][1] is None and paths[0][0] < first


def _joined(calls: list[TapedCall], given: Tensor, first: int) -> tuple[Tensor, list[int]]:
    """All weights that multiply an input itself, one below the other, and whose they are."""
    found = [(weight, first + k) for k, call in enumerate(calls) for weight, e in call.products if e is given]
    weights = [weight for weight, _ in found]
    return torch.cat(weights) if weights else given.new_empty(0), [k for _, k in found]

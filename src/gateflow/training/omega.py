"""Pascanu's Ω of a whole model on a batch: the states and error signals that `remedies.penalties.omega` asks for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.flow.adjoint import backward
from gateflow.flow.capture import Loss, Replay, State, trace_model
from gateflow.layers import cells_in
from gateflow.recurrence import force_path
from gateflow.remedies import penalties

__all__ = ["omega"]


def omega(model: nn.Module, batch: Any, loss: Loss) -> Tensor:
    """Return Ω, summed over the recurrent layers and directions; added to the loss, it keeps the gradient's norm.

    Args:
        model: any module that `flow.reach` can look into, over full sequences.
        batch, loss: `loss(model, batch)`, the loss whose error signals `∂E/∂s_k` are to keep their norm.

    Raises:
        FlowError, NonFiniteError: as `flow.reach`.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML.
    arXiv:1211.5063, equations 9 and 10.

    Example:
        >>> rnn = nn.RNN(3, 4)
        >>> penalty = omega(rnn, torch.randn(5, 2, 3), lambda model, x: model(x)[0][-1].sum())
        >>> penalty.backward()
        >>> bool(penalty > 0), bool(rnn.weight_hh_l0.grad.norm() > 0)
        (True, True)
    """
    with force_path("reference"):  # the very operations of the replay: in a chaotic network others would soon differ
        run = trace_model(model, batch, loss)
    cells = cells_in(model)
    # The error signals are constants for Ω: Pascanu et al. leave out how they depend on the weights.
    errors = {done.title: tuple(torch.zeros_like(part[1:]) for part in done.states) for done in run.replays}

    def keep(done: Replay, p: int, alive: slice, delta: list[Tensor]) -> None:
        for error, part in zip(errors[done.title], delta, strict=True):
            error[p] = part.sum(0)

    backward(run, (), keep, rest=run.targets())
    parts = ((done, tuple(state[:-1] for state in done.states)) for done in run.replays)
    return torch.stack([_of_pass(cells[done.name], done, before, errors[done.title]) for done, before in parts]).sum()


def _of_pass(cell: Cell, done: Replay, before: State, errors: State) -> Tensor:
    """A 16-bit model is followed in float32, and its penalty taken over float32 copies of its weights."""
    wide = cell.over({n: w.to(done.x.dtype) for n, w in cell._parameters.items() if w is not None})
    return penalties.omega(wide, done.x, before, errors)

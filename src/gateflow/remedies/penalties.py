"""Terms added to the loss: activation penalties, and Pascanu's Ω, which keeps the gradient's norm over time."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.cells import Cell

__all__ = ["activation", "omega", "temporal_activation"]


def activation(y: Tensor, weight: float = 2.0) -> Tensor:
    """AR: `weight · mean(y²)` of a layer's outputs (after dropout), which keeps them small.

    Args:
        y: outputs `[T, B, H]`.
        weight: the paper's α.

    Source: Merity, McCann, Socher (2017). Revisiting activation regularization for language RNNs. arXiv:1708.01009.

    Example:
        >>> activation(torch.ones(5, 2, 3)).item()
        2.0
    """
    return weight * y.square().mean()


def temporal_activation(y: Tensor, weight: float = 1.0) -> Tensor:
    """TAR: `weight · mean((y_t - y_{t-1})²)` of a layer's outputs (before dropout), which keeps them slow.

    Args:
        y: outputs `[T, B, H]`; with one step the penalty is zero.
        weight: the paper's β.

    Source: Merity, McCann, Socher (2017). Revisiting activation regularization for language RNNs. arXiv:1708.01009.

    Example:
        >>> temporal_activation(torch.arange(4.0).reshape(4, 1, 1)).item()
        1.0
    """
    # The mean of no differences would be NaN.
    return weight * y.diff(dim=0).square().mean() if y.shape[0] > 1 else y.new_zeros(())


def omega(cell: Cell, x: Tensor, states: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Tensor:
    """Pascanu's Ω: `Σ_k (‖∂E/∂s_{k+1} · ∂s_{k+1}/∂s_k‖ / ‖∂E/∂s_{k+1}‖ - 1)²`, averaged over the batch.

    It is zero where a step back in time neither shrinks nor stretches the error. As in the paper, the states and the
    error signals are constants: only the immediate dependence of `∂s_{k+1}/∂s_k` on the weights is differentiated.

    Args:
        cell: the recurrent cell, over the weights to be penalised.
        x: its input `[T, B, I]`.
        states: for each part of the state, `s_0 … s_{T-1}`, the state before each step, `[T, B, size]`.
        gradients: for each part of the state, `∂E/∂s_1 … ∂E/∂s_T`, the error after each step, `[T, B, size]`. A step
            that receives no error at all is left out.

    Returns:
        A scalar that can be differentiated with respect to the cell's weights.

    Source: Pascanu, Mikolov, Bengio (2013). On the difficulty of training recurrent neural networks. ICML.
    arXiv:1211.5063.

    Example:
        >>> from gateflow.cells import Elman
        >>> x, s, e = torch.zeros(5, 2, 3), (torch.zeros(5, 2, 4),), (torch.ones(5, 2, 4),)
        >>> penalty = omega(Elman(3, 4), x, s, e)
        >>> penalty.requires_grad, bool(penalty > 0)
        (True, True)
    """
    # All steps as rows of one batch: no step depends on another once the states are constants.
    before = tuple(s.detach().flatten(0, 1).requires_grad_() for s in states)
    errors = _scaled([e.detach().flatten(0, 1) for e in gradients])
    after = cell.bind().advance(x.detach().flatten(0, 1), before)
    # One product with the Jacobian for each step; differentiated once more by the loss, hence `create_graph`.
    back = torch.autograd.grad(after, before, errors, create_graph=True)
    reached, started = _norm(back), _norm(errors)
    alive = started > 0
    # `where` inside as well: the derivative of a quotient by zero is NaN even if its value is not used.
    ratio = torch.where(alive, reached / started.where(alive, 1.0), 1.0)
    return (ratio - 1).square().sum() / x.shape[1]


def _scaled(errors: list[Tensor]) -> tuple[Tensor, ...]:
    """Each row over its largest number: ratios stay, and squares of what vanishes or explodes stay in range."""
    largest = torch.cat(errors, dim=-1).abs().amax(-1, keepdim=True)
    # The square of an error below 1e-19 is zero in float32: without this Ω left out the steps that need it most.
    return tuple(e / largest.where(largest > 0, 1.0) for e in errors)


def _norm(parts: tuple[Tensor, ...]) -> Tensor:
    """Norm over the full state of each row. The tiny term keeps the root's derivative finite at zero."""
    return (torch.cat(parts, dim=-1).square().sum(-1) + torch.finfo(parts[0].dtype).tiny).sqrt()

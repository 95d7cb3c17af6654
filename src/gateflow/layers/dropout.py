"""Dropout in time: one mask for all steps, dropped recurrent weights, and zoneout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import Cell

__all__ = ["LockedDropout", "drop_recurrent_weights", "zoneout_masks"]


class LockedDropout(nn.Module):
    """Variational dropout: a unit that is dropped is dropped at every time step of a sequence.

    Args:
        p: probability with which a unit of a sequence is set to zero; the others are scaled by `1 / (1 - p)`.

    Shape: `[T, B, F]` to the same.

    Source: Gal, Ghahramani (2016). A theoretically grounded application of dropout in recurrent neural networks.
    NeurIPS. arXiv:1512.05287.

    Example:
        >>> drop = LockedDropout(0.5)
        >>> y = drop(torch.ones(7, 2, 3))
        >>> bool((y == y[0]).all())
        True
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drops units of `x [T, B, F]` while training."""
        if not self.training or self.p == 0:
            return x
        # One row of time, spread over all steps: the mask is the same at each.
        return x * F.dropout(x.new_ones(1, *x.shape[1:]), self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def drop_recurrent_weights(cell: Cell, p: float) -> Cell:
    """The cell with single recurrent weights set to zero for this pass (DropConnect on every product of a state).

    Source: Merity, Keskar, Socher (2018). Regularizing and optimizing LSTM language models. ICLR. arXiv:1708.02182.
    """
    # All that multiplies a state, peepholes and the weights of IndRNN included; input weights and biases stay.
    products = {"weight_hh", *(f"weight_{name}" for name in cell.matrices), *cell.diagonals}
    kept = {n: F.dropout(w, p) if n in products else w for n, w in cell._parameters.items() if w is not None}
    return cell.over(kept)


def zoneout_masks(cell: Cell, x: Tensor, rates: tuple[float, ...], training: bool) -> tuple[Tensor | float, ...]:
    """For each part of the state, where its old value stays: random masks `[T, B, size]`, or the rates in eval mode.

    Source: Krueger et al. (2017). Zoneout: regularizing RNNs by randomly preserving hidden activations. ICLR.
    arXiv:1606.01305.
    """
    # The expectation of the mask: in eval mode nothing is random.
    if not training:
        return rates
    shapes = ((*x.shape[:2], size) for size in cell.state_sizes.values())
    return tuple(torch.rand(s, device=x.device).lt(p).to(x.dtype) for s, p in zip(shapes, rates, strict=True))

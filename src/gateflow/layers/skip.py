"""Skips between layers: what a layer computes is added to, or mixed with, what it was given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Highway", "Residual"]


class Residual(nn.Module):
    """`y = x + F(x)`; where sizes differ, `x` goes through a learned product first.

    Source: He, Zhang, Ren, Sun (2016). Deep residual learning for image recognition. CVPR. arXiv:1512.03385.

    Example:
        >>> Residual(4, 4)(torch.ones(2, 4), torch.ones(2, 4)).sum().item()
        16.0
    """

    def __init__(self, input_size: int, output_size: int, **factory: Any):
        super().__init__()
        same = input_size == output_size
        self.carry = nn.Identity() if same else nn.Linear(input_size, output_size, bias=False, **factory)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`x` is what the layer was given, `y` what it computed."""
        return self.carry(x) + y


class Highway(nn.Module):
    """`y = g ∘ F(x) + (1 - g) ∘ x` with `g = σ(W x + b)`; `b` starts at -1, so that a new layer mostly carries.

    Source: Srivastava, Greff, Schmidhuber (2015). Highway networks. arXiv:1505.00387.

    Example:
        >>> Highway(4, 6)(torch.ones(2, 4), torch.ones(2, 6)).shape
        torch.Size([2, 6])
    """

    def __init__(self, input_size: int, output_size: int, **factory: Any):
        super().__init__()
        same = input_size == output_size
        self.carry = nn.Identity() if same else nn.Linear(input_size, output_size, bias=False, **factory)
        self.gate = nn.Linear(input_size, output_size, **factory)
        # Negative as in the paper: a deep stack trains from the start, since each layer first passes on its input.
        nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """`x` is what the layer was given, `y` what it computed."""
        g = torch.sigmoid(self.gate(x))
        return g * y + (1 - g) * self.carry(x)

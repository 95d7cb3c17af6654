"""Recurrent highway networks: several layers between two steps."""

from typing import Any

import torch
from torch import nn, sigmoid, tanh

from gateflow.cells.cell import Cell
from gateflow.cells.registry import register

__all__ = ["RHN"]


def _names(kind: str, depth: int) -> tuple[str, ...]:
    """Of the layers after the first, which sees the input and is a gate."""
    return tuple(f"{kind}_{layer}" for layer in range(2, depth + 1))


@register("rhn")
class RHN(Cell):
    """The recurrent highway network with coupled gates: `L` highway layers in each step, the first one sees the input.

    `L` is 5; a class of its own has another: `class Deep(RHN, depth=10): pass`. The transform gates begin at -2, which
    carries.

    Example:
        >>> class Deep(RHN, depth=3):
        ...     pass
        >>> Deep.depth, Deep.matrices
        (3, ('content_2', 'content_3', 'transform_2', 'transform_3'))
    """

    depth = 5
    states = ("s",)
    gates = ("content", "transform")
    matrices = (*_names("content", depth), *_names("transform", depth))
    diagonals = (*_names("bias_content", depth), *_names("bias_transform", depth))
    keeps = {"transform": -1}
    equation = """\
h   = tanh(W_h s_{t-1} + U_h x_t + b_h)
z   = σ(W_z s_{t-1} + U_z x_t + b_z)
s   = z ∘ h + (1 - z) ∘ s_{t-1}
for l = 2 … L:
    h = tanh(W_hl s + b_hl)
    z = σ(W_zl s + b_zl)
    s = z ∘ h + (1 - z) ∘ s
s_t = s"""
    citation = (
        "Zilly, Srivastava, Koutnik, Schmidhuber (2017). Recurrent highway networks. ICML, 4189-4198. arXiv:1607.03474."
    )

    def __init_subclass__(cls, depth: int | None = None, **kwargs: Any) -> None:
        if depth is not None:
            cls.depth = depth
            cls.matrices = _names("content", depth) + _names("transform", depth)
            cls.diagonals = _names("bias_content", depth) + _names("bias_transform", depth)
        super().__init_subclass__(**kwargs)

    def step(self, x, s):
        h = tanh(self.content(s, x))
        z = sigmoid(self.transform(s, x))
        s = z * h + (1 - z) * s
        for layer in range(2, self.depth + 1):
            h = tanh(self._affine("content", layer, s))
            z = sigmoid(self._affine("transform", layer, s))
            s = z * h + (1 - z) * s
        return s

    def _affine(self, kind: str, layer: int, s: torch.Tensor) -> torch.Tensor:
        return getattr(self, f"{kind}_{layer}")(s) + getattr(self, f"bias_{kind}_{layer}")

    def reset_parameters(self):
        """As every cell, but the transform gates begin closed, at a bias of -2."""
        super().reset_parameters()
        # -2 to -4 in the paper's experiments: with several layers a step, an open one would lose the state at once.
        for name in _names("bias_transform", self.depth):
            nn.init.constant_(getattr(self, name), -2.0)
        if self.bias:
            rows = self.gate_rows("transform")
            nn.init.constant_(self.bias_ih.data[rows], -2.0)
            nn.init.constant_(self.bias_hh.data[rows], 0.0)

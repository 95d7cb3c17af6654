"""Weights that a step makes of its weights, such as `W - W.T`: what is known of them, and their values.

    h @ (W - W.T)      →      h = product(h, derived_0),   derived_0 = (W - W.T).T, computed once in a call

They are computed by torch's operations before the loop, so their gradients are autograd's.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LINEAR", "MATMULS", "NAME", "Expression", "transposed", "value_of"]

Expression = Any
"""The name of a weight, a constant, or what a function makes of expressions: see `WeightStandIn`."""

NAME = "derived_{}"
MATMULS = frozenset({operator.matmul, torch.matmul, torch.mm, "matmul", "mm"})
"""Products of a row and a matrix."""
LINEAR = F.linear


def transposed(expression: Expression) -> Expression:
    """The expression of the transpose."""
    return ("t", (expression,), ())


def value_of(expression: Expression, weights: Mapping[str, Tensor]) -> Any:
    """What an expression comes to."""
    if isinstance(expression, str):
        return weights[expression]
    if expression[0] == "is":
        return expression[1]
    function, parts, options = expression
    args: Sequence[Any] = [value_of(part, weights) for part in parts]
    if function == "of":
        return tuple(args)
    named = {name: value_of(value, weights) for name, value in options}
    if isinstance(function, str):
        return getattr(args[0], function)(*args[1:], **named)
    return function(*args, **named)

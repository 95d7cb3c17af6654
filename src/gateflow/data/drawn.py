"""Numbers drawn for what varies in training."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["between"]


def between(like: Tensor, most: float) -> Tensor:
    """Numbers between ``-most`` and ``most``, as many, of the type and on the device of others.

    Example:
        >>> bool((between(torch.zeros(100), 0.2).abs() <= 0.2).all())
        True
    """
    return (torch.rand_like(like) * 2 - 1) * most

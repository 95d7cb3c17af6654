"""Rotary positions: components turned by angles, so that a product of two steps tells how far apart they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["rotated"]

# Of the angles by which positions turn: as in the source of rotary positions, and in whatever followed it.
BASE = 10_000.0


def rotated(x: Tensor, first: int) -> Tensor:
    """Turn each pair of components by an angle that grows with the position: products then tell distances alone.

    ``(x_i, x_{i + d/2})`` at position ``p`` is turned by ``p · 10000^(-2i/d)``.

    Args:
        x: ``[..., T, D]``, `D` even.
        first: position of the first step.

    Example:
        >>> x = torch.ones(1, 4)
        >>> turned = [rotated(x, p) for p in (3, 5, 7)]
        >>> torch.allclose(turned[0] @ turned[1].T, turned[1] @ turned[2].T)  # both are two steps apart
        True

    Source: Su, Lu, Pan, Murtadha, Wen, Liu (2021). RoFormer: enhanced transformer with rotary position embedding.
    arXiv:2104.09864.
    """
    half = x.shape[-1] // 2
    # Of 16 bits the angle of a late position would be off by whole turns, of 32 by 0.06 after a million steps.
    wide = {"device": x.device, "dtype": torch.float32 if x.device.type == "mps" else torch.float64}
    speeds = BASE ** (-torch.arange(half, **wide) / half)
    turned = torch.outer(torch.arange(first, first + x.shape[-2], **wide), speeds).remainder(2 * math.pi)
    angles = turned.to(torch.promote_types(x.dtype, torch.float32))
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x[..., :half], x[..., half:]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)

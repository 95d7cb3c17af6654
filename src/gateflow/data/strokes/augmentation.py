"""How the strokes of a pen may look otherwise: slanted, turned, wider, higher, trembling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["StrokeAugment"]


class StrokeAugment(nn.Module):
    """Strokes varied anew each time they are read, each line as a whole; in eval mode not at all.

    Of each point `dx` becomes ``(dx + slant · dy) · width``, `dy` becomes ``(dy + turn · dx) · height`` and `y`
    becomes ``y · height``; then each of the three gets some noise.

    Args:
        slant, turn: shares of the other way, at most.
        size: by how much wider or narrower, higher or lower, at most.
        noise: deviation of what is added to each point.

    Shape: points ``[T, B, 4]`` as of `gateflow.data.strokes.reading.CHANNELS` and lengths ``[B]`` to ``[T, B, 4]``.

    Example:
        >>> points = torch.randn(30, 2, 4)
        >>> StrokeAugment()(points, torch.tensor([30, 20]))[..., 3].equal(points[..., 3])
        True
    """

    def __init__(self, *, slant: float = 0.3, turn: float = 0.05, size: float = 0.15, noise: float = 0.05) -> None:
        super().__init__()
        self.slant, self.turn, self.size, self.noise = slant, turn, size, noise

    def forward(self, points: Tensor, lengths: Tensor) -> Tensor:
        """The points as they lie now."""
        if not self.training:
            return points
        most = points.new_tensor([self.slant, self.turn, self.size, self.size])
        drawn = (torch.rand(points.shape[1], 4, dtype=points.dtype, device=points.device) * 2 - 1) * most
        slant, turn, width, height = drawn.unbind(1)
        dx, dy, y, begins = points.unbind(-1)
        moved = torch.stack([(dx + slant * dy) * (1 + width), (dy + turn * dx) * (1 + height), y * (1 + height)], -1)
        moved = moved + torch.randn_like(moved) * self.noise
        return torch.cat([moved, begins[..., None]], -1)

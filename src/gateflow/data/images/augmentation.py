"""How a line of writing may look otherwise: slanted, shifted, of another size, blotted, noisy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.data.drawn import between

__all__ = ["LineAugment"]


class LineAugment(nn.Module):
    r"""Lines of writing varied anew each time they are read, all of a batch at once; in eval mode not at all.

    The ink at column `x` and row `y` of the new line, both from the middle, is that of the old one at::

        x' = x + slant · y + sway · sin(2π k x / length + phase),    y' = (y + shift) · scale

    so that a line keeps its length, and the letters their order. Then ink is made `1 ± strength` as dark, a few blots
    of paper or ink fall on it, and each pixel gets some noise.

    Args:
        slant: columns for each row, at most.
        shift: rows up or down, at most, as a share of the height.
        scale: by how much higher or lower, at most.
        sway: columns that a letter may move, at most.
        blots: how many there are on a line, one for each 100 columns at most; each is up to a quarter as high and wide
            as the line is high.
        noise: deviation of what is added to each pixel.
        strength: by how much darker or lighter, at most.

    Shape: ink ``[T, B, H]`` from 0 to 1 and lengths ``[B]`` to ``[T, B, H]``.

    Example:
        >>> lines, lengths = torch.rand(50, 2, 8), torch.tensor([50, 30])
        >>> augment = LineAugment()
        >>> augment(lines, lengths).shape, bool((augment.eval()(lines, lengths) == lines).all())
        (torch.Size([50, 2, 8]), True)

    Of this kind are those of Wick, Reul and Puppe 2018, "Calamari - A high-performance Tensorflow-based deep learning
    package for optical character recognition", and of OCRopus' linegen.
    """

    def __init__(
        self,
        *,
        slant: float = 0.2,
        shift: float = 0.06,
        scale: float = 0.1,
        sway: float = 1.5,
        blots: bool = True,
        noise: float = 0.03,
        strength: float = 0.3,
    ) -> None:
        super().__init__()
        self.slant, self.shift, self.scale, self.sway = slant, shift, scale, sway
        self.blots, self.noise, self.strength = blots, noise, strength

    def forward(self, ink: Tensor, lengths: Tensor) -> Tensor:
        """The lines as they look now; beyond their ends is paper."""
        if not self.training:
            return ink
        moved = F.grid_sample(
            ink.permute(1, 2, 0)[:, None], self._places(ink, lengths), align_corners=True, padding_mode="zeros"
        )[:, 0].permute(2, 0, 1)
        each = ink.new_empty(1, ink.shape[1], 1)
        found = moved * (1 + between(each, self.strength))
        if self.blots:
            found = self._blotted(found, lengths)
        if self.noise:
            found = found + torch.randn_like(found) * self.noise
        beyond = torch.arange(len(ink), device=ink.device)[:, None, None] >= lengths[:, None]
        return found.clamp(0, 1).masked_fill(beyond, 0)

    def _places(self, ink: Tensor, lengths: Tensor) -> Tensor:
        """Where each pixel is taken from, ``[B, H, T, 2]`` from -1 to 1 as torch has it."""
        T, B, H = ink.shape
        x, y = (torch.arange(size, device=ink.device, dtype=ink.dtype) for size in (T, H))
        x, y = x.view(1, 1, T), y.view(1, H, 1) - (H - 1) / 2
        each = ink.new_empty(B, 1, 1)
        length = lengths.to(ink.dtype).view(B, 1, 1)
        # About one wave for each five letters, which are as wide as high.
        waves = 2 * math.pi * torch.rand_like(each) * length / (5 * H) + 1
        swayed = between(each, self.sway) * torch.sin(waves * x / length + math.pi * between(each, 1.0))
        from_x = x + between(each, self.slant) * y + swayed
        from_y = (y + between(each, self.shift) * H) * (1 + between(each, self.scale)) + (H - 1) / 2
        places = torch.stack(torch.broadcast_tensors(from_x / max(T - 1, 1), from_y / max(H - 1, 1)), -1)
        return places * 2 - 1

    def _blotted(self, ink: Tensor, lengths: Tensor) -> Tensor:
        T, B, H = ink.shape
        blots = max(1, T // 100)
        drawn = torch.rand(4, blots, 1, B, 1, device=ink.device, dtype=ink.dtype)
        x, y = (torch.arange(size, device=ink.device, dtype=ink.dtype) for size in (T, H))
        x, y = x.view(T, 1, 1), y.view(1, 1, H)
        for middle_x, middle_y, width, height in drawn.unbind(1):
            inside = (x - middle_x * lengths[:, None]).abs() < width * H / 8
            inside = inside & ((y - middle_y * H).abs() < height * H / 8)
            # A quarter of them each is paper and ink, the others are none.
            value = torch.randint(0, 4, (1, B, 1), device=ink.device)
            ink = torch.where(inside & (value < 2), value.to(ink.dtype), ink)
        return ink

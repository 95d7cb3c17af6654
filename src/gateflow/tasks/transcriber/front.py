"""Convolutions over the steps of a line, which make a shorter sequence of what stands close together."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvolutionFront"]

# Steps that a convolution looks at.
_KERNEL = 3
# How often each of three convolutions halves the steps, by how many become one. The first is the largest, so it comes
# first there too.
_STRIDES = {1: (1, 1, 1), 2: (2, 1, 1), 4: (2, 2, 1), 8: (2, 2, 2)}
# Channels of each, as shares of those of the last.
_SHARES = (3, 1.5, 1)


class ConvolutionFront(nn.Module):
    """Three convolutions and a normalisation of each step: ``y = norm(relu(conv(relu(conv(relu(conv(x)))))))``.

    Beyond a line's end stands zero before each convolution, as there would be if the line stood alone, so that an
    answer does not depend on the batch.

    Args:
        width: numbers of a step.
        size: channels of the last convolution.
        reduce: steps that become one: 1, 2, 4 or 8.
        is_picture: a step is a column, and convolutions go along it as well, halving it each time; else its numbers
            are channels.
        causal: a step looks at none that comes later, so that a stream can be read as it comes.

    Shape: ``[T, B, C]`` and lengths ``[B]`` to ``[⌈T / reduce⌉, B, F]`` and lengths.

    Attributes:
        output_size: F.

    Example:
        >>> front = ConvolutionFront(40, size=16, reduce=4, is_picture=True)
        >>> found, lengths = front(torch.rand(90, 2, 40), torch.tensor([90, 33]))
        >>> found.shape, lengths.tolist(), front.output_size
        (torch.Size([23, 2, 80]), [23, 9], 80)
    """

    def __init__(
        self, width: int, *, size: int = 48, reduce: int = 4, is_picture: bool = True, causal: bool = False
    ) -> None:
        super().__init__()
        self.is_picture, self.causal, self.strides = is_picture, causal, _STRIDES[reduce]
        heights, channels = (1, 1, 1, 1), (width, size, size, size)
        if is_picture:
            heights = (width, *(-(-width // 2**k) for k in (1, 2, 3)))
            channels = (1, *(max(1, round(size / share)) for share in _SHARES))
        along = _KERNEL if is_picture else 1
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                before,
                after,
                (along, _KERNEL),
                stride=(2 if is_picture else 1, stride),
                # In time it is done by hand: before the line alone where later steps may not be looked at.
                padding=(along // 2, 0),
            )
            for (before, after), stride in zip(pairwise(channels), self.strides, strict=True)
        )
        self.output_size = heights[-1] * channels[-1]
        self.norm = nn.LayerNorm(self.output_size)

    def lengths(self, lengths: Tensor) -> Tensor:
        """How many steps lines of these lengths become."""
        for stride in self.strides:
            lengths = -(-lengths // stride)
        return lengths

    def forward(self, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the layers read, and the lengths of it."""
        # As pictures [B, channels, height, T], the channels of a pixel side by side in memory.
        x = steps.permute(1, 2, 0)
        x = (x[:, None] if self.is_picture else x[:, :, None]).contiguous(memory_format=torch.channels_last)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            # Filled and not multiplied: what stands in padding may be NaN.
            x = x.masked_fill(_beyond(x.shape[-1], lengths), 0)
            x = F.relu(convolution(F.pad(x, self._around)))
            lengths = -(-lengths // stride)
        return self.norm(x.permute(3, 0, 1, 2).flatten(2)), lengths

    @property
    def _around(self) -> tuple[int, int]:
        """Steps of zeros before and behind a line."""
        return (_KERNEL - 1, 0) if self.causal else (_KERNEL // 2, _KERNEL // 2)


def _beyond(steps: int, lengths: Tensor) -> Tensor:
    return torch.arange(steps, device=lengths.device) >= lengths[:, None, None, None]

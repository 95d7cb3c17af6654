"""Convolutions over the steps of a line, which make a shorter sequence of what stands close together."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.errors import ConfigError

__all__ = ["ConvolutionFront", "FrontStream"]

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

    def steps_of(self, first: int, last: int) -> tuple[int, int]:
        """The steps in whose middle these became, the last included: from the first to before the second.

        A step looks at more than those, to both sides, or if it is causal at more before them.

        Example:
            >>> ConvolutionFront(40, reduce=4).steps_of(0, 0), ConvolutionFront(40, reduce=4).steps_of(2, 3)
            ((0, 2), (6, 14))
        """
        reduce = prod(self.strides)
        ahead = 1 if self.causal else reduce - reduce // 2
        return max(0, first * reduce - reduce + ahead), last * reduce + ahead

    def forward(self, steps: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the layers read, and the lengths of it."""
        # The channels of a pixel side by side in memory: it takes a third less time on a CPU.
        x = self.images(steps).contiguous(memory_format=torch.channels_last)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            # Filled and not multiplied: what stands in padding may be NaN.
            x = x.masked_fill(_beyond(x.shape[-1], lengths), 0)
            x = F.relu(convolution(F.pad(x, self._around)))
            lengths = -(-lengths // stride)
        return self.finished(x), lengths

    def stream(self) -> FrontStream:
        """The same for one line whose steps come a few at a time.

        Raises:
            ConfigError: it is not causal.
        """
        if not self.causal:
            raise ConfigError("convolutions that look ahead read no stream; make them causal.")
        return FrontStream(self)

    def images(self, steps: Tensor) -> Tensor:
        """Steps ``[T, B, C]`` as pictures ``[B, channels, height, T]``."""
        x = steps.permute(1, 2, 0)
        return x[:, None] if self.is_picture else x[:, :, None]

    def finished(self, x: Tensor) -> Tensor:
        """What the layers read of pictures, ``[T, B, F]``."""
        return self.norm(x.permute(3, 0, 1, 2).flatten(2))

    @property
    def _around(self) -> tuple[int, int]:
        """Steps of zeros before and behind a line."""
        return (_KERNEL - 1, 0) if self.causal else (_KERNEL // 2, _KERNEL // 2)


class FrontStream:
    """A causal front over one line as it comes: each call gives the steps that are whole by then.

    Args:
        front: causal.

    Example:
        >>> front, steps = ConvolutionFront(6, size=4, reduce=2, is_picture=False, causal=True), torch.rand(9, 1, 6)
        >>> stream = front.stream()
        >>> parts = torch.cat([stream(steps[:2]), stream(steps[2:7]), stream(steps[7:])])
        >>> torch.allclose(parts, front(steps, torch.tensor([9]))[0], atol=1e-6)
        True
    """

    def __init__(self, front: ConvolutionFront) -> None:
        self.front = front
        # What each convolution has not yet done with; before a line stand zeros.
        self._left: list[Tensor | None] = [None] * len(front.convolutions)

    def __call__(self, steps: Tensor) -> Tensor:
        """What is whole with these steps ``[T, 1, C]``: ``[T', 1, F]``, often fewer, or none."""
        x = self.front.images(steps)
        for k, (convolution, stride) in enumerate(zip(self.front.convolutions, self.front.strides, strict=True)):
            before = self._left[k]
            x = F.pad(x, (_KERNEL - 1, 0)) if before is None else torch.cat([before, x], -1)
            count = max(0, (x.shape[-1] - _KERNEL) // stride + 1)
            self._left[k] = x[..., count * stride :]
            if not count:
                return steps.new_zeros(0, 1, self.front.output_size)
            x = F.relu(convolution(x[..., : (count - 1) * stride + _KERNEL]))
        return self.front.finished(x)


def _beyond(steps: int, lengths: Tensor) -> Tensor:
    return torch.arange(steps, device=lengths.device) >= lengths[:, None, None, None]

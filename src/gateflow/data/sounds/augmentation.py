"""SpecAugment: stretches of time and of frequency are blotted out, so that a network leans on none of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, ShapeError

__all__ = ["SpecAugment"]


class SpecAugment(nn.Module):
    """Masks of time and frequency over spectrograms, drawn anew each time they are read; in eval mode none.

    Under a mask is zero: the mean, if the spectrograms are normalised.

    Args:
        times, frequencies: how many masks of each kind.
        longest: frames that a mask of time covers at most, and never more than a fifth of the recording.
        widest: bands that a mask of frequency covers at most.
        bands: bands of the spectrogram; where their slopes stand beside them, these are masked with them.

    Shape: values ``[T, B, C]`` and lengths ``[B]`` to ``[T, B, C]``; ``C`` is a multiple of the bands.

    Raises:
        ConfigError: a number is negative, or there is no band.

    Example:
        >>> mask = SpecAugment(times=1, frequencies=0, longest=4, widest=0, bands=3)
        >>> found = mask(torch.ones(40, 2, 3), torch.tensor([40, 20]))
        >>> int((found == 0).all(-1).sum(0).max()) <= 4
        True

    Park et al. 2019, "SpecAugment: A simple data augmentation method for automatic speech recognition"; without its
    warping of time, which they found to bring the least.
    """

    def __init__(
        self, *, times: int = 2, frequencies: int = 2, longest: int = 25, widest: int = 8, bands: int = 40
    ) -> None:
        super().__init__()
        if min(times, frequencies, longest, widest) < 0 or bands < 1:
            raise ConfigError("SpecAugment: masks of less than nothing, or of no band, are asked for.")
        self.times, self.frequencies, self.longest = times, frequencies, longest
        self.widest, self.bands = min(widest, bands - 1), bands

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """The spectrograms with zeros under the masks.

        Raises:
            ShapeError: ``C`` is no multiple of the bands.
        """
        steps, count, channels = values.shape
        if channels % self.bands:
            raise ShapeError(f"{channels} channels are no multiple of the {self.bands} bands to be masked.")
        if not self.training:
            return values
        covered = torch.zeros(steps, count, channels, dtype=torch.bool, device=values.device)
        for _ in range(self.times):
            covered |= _stretch(steps, lengths, (lengths // 5).clamp_max(self.longest))[..., None]
        bands = torch.full_like(lengths, self.bands)
        for _ in range(self.frequencies):
            stretch = _stretch(self.bands, bands, torch.full_like(lengths, self.widest))
            covered |= stretch.T.repeat(1, channels // self.bands)
        return values.masked_fill(covered, 0)


def _stretch(size: int, ends: Tensor, longest: Tensor) -> Tensor:
    """Stretches drawn from 0 to `ends`, ``[size, B]`` truth values, each of 0 to `longest` places."""
    widths = _drawn(longest + 1)
    begins = _drawn(ends - widths + 1)
    places = torch.arange(size, device=ends.device)[:, None]
    return (places >= begins) & (places < begins + widths)


def _drawn(below: Tensor) -> Tensor:
    """Whole numbers from 0 to below these."""
    # In float64: a product in float32 may be rounded up to the number itself.
    return (torch.rand(below.shape, dtype=torch.float64, device=below.device) * below).long()

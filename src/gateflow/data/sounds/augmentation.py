"""SpecAugment: stretches of time and of frequency are blotted out, so that a network leans on none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import ConfigError, ShapeError

__all__ = ["SpecAugment"]


@dataclass(frozen=True)
class SpecAugment:
    """Masks of time and frequency over a spectrogram, drawn anew each time it is read.

    Args:
        times, frequencies: how many masks of each kind.
        longest: frames that a mask of time covers at most, and never more than a fifth of the recording.
        widest: bands that a mask of frequency covers at most.
        bands: bands of the spectrogram; where their slopes stand beside them, these are masked with them.

    Raises:
        ConfigError: a number is negative, or there is no band.

    Example:
        >>> mask = SpecAugment(times=1, frequencies=0, longest=4, widest=0, bands=3)
        >>> found = mask(np.ones((40, 3), dtype=np.float32), np.random.default_rng(0))
        >>> 1 <= int((found == 0).all(axis=1).sum()) <= 4
        True

    Park et al. 2019, "SpecAugment: A simple data augmentation method for automatic speech recognition"; without its
    warping of time, which they found to bring the least.
    """

    times: int = 2
    frequencies: int = 2
    longest: int = 25
    widest: int = 8
    bands: int = 40

    def __post_init__(self) -> None:
        if min(self.times, self.frequencies, self.longest, self.widest) < 0 or self.bands < 1:
            raise ConfigError(f"{self} asks for masks of less than nothing, or of no band.")

    def __call__(self, values: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
        """A copy of ``[T, C]`` with zeros under the masks: the mean, if the spectrogram is normalised.

        Raises:
            ShapeError: ``C`` is no multiple of the bands.
        """
        if values.shape[1] % self.bands:
            raise ShapeError(f"{values.shape[1]} channels are no multiple of the {self.bands} bands to be masked.")
        found, steps = values.copy(), len(values)
        for _ in range(self.times):
            begin, end = _stretch(steps, min(self.longest, steps // 5), random)
            found[begin:end] = 0
        for _ in range(self.frequencies):
            begin, end = _stretch(self.bands, min(self.widest, self.bands - 1), random)
            found.reshape(steps, -1, self.bands)[:, :, begin:end] = 0
        return found


def _stretch(length: int, longest: int, random: np.random.Generator) -> tuple[int, int]:
    width = int(random.integers(0, longest + 1))
    begin = int(random.integers(0, length - width + 1))
    return begin, begin + width

"""How a sound may be otherwise: by another voice, faster and slower, with stretches of time and frequency masked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.data.drawn import between
from gateflow.data.sounds.spectrogram import LogMel
from gateflow.errors import ConfigError, ShapeError

__all__ = ["SoundAugment", "SpecAugment", "VoiceAugment"]


class VoiceAugment(nn.Module):
    r"""Spectrograms as another voice would have made them, drawn anew each time they are read; in eval mode not.

    At time `t` and frequency `f` is what was at::

        f' = tract · f      t' = t + tempo · (L - 1) / (n π) · sin(n π t / (L - 1))

    `tract` says how much longer the vocal tract is, which moves all its resonances by one factor, and `tempo` how much
    faster is spoken where the sine rises, and slower where it falls; `n` is how often it does. A sound keeps its
    length, and what is said its order.

    Args:
        features: how the sounds became spectrograms, which frequency a band stands for.
        tract: a factor from ``1 - tract`` to ``1 + tract`` is drawn for each sound.
        tempo: one from ``-tempo`` to ``tempo``.
        turns: `n` is drawn from 1 to this.

    Shape: values ``[T, B, C]`` and lengths ``[B]`` to ``[T, B, C]``; ``C`` is a multiple of the bands.

    Raises:
        ConfigError: `tract` or `tempo` is not from 0 to less than 1, or there is no turn.

    Example:
        >>> voice = VoiceAugment(LogMel(rate=8000, bands=20))
        >>> sounds, lengths = torch.rand(50, 2, 20), torch.tensor([50, 30])
        >>> voice(sounds, lengths).shape, bool((voice.eval()(sounds, lengths) == sounds).all())
        (torch.Size([50, 2, 20]), True)

    Jaitly and Hinton 2013, "Vocal Tract Length Perturbation (VTLP) improves speech recognition". Time is warped as in
    SpecAugment, smoothly.
    """

    def __init__(self, features: LogMel, *, tract: float = 0.15, tempo: float = 0.25, turns: int = 6) -> None:
        super().__init__()
        if not (0 <= tract < 1 and 0 <= tempo < 1 and turns >= 1):
            raise ConfigError(
                f"VoiceAugment: a tract of {tract:g} and a tempo of {tempo:g} by {turns} turns cannot be."
            )
        self.features, self.tract, self.tempo, self.turns = features, tract, tempo, turns

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """The spectrograms by other voices; beyond their ends they are as they were.

        Raises:
            ShapeError: ``C`` is no multiple of the bands.
        """
        _refuse_other_bands(values, self.features.bands)
        if not self.training:
            return values
        steps, count, channels = values.shape
        bands = self.features.bands
        beyond = torch.arange(steps, device=values.device)[:, None, None] >= lengths[:, None]
        # What stands behind an end may be NaN, and by rounding the last step has a millionth of it. Numbers of 16 bits
        # cannot count steps.
        known = values.masked_fill(beyond, 0).to(torch.promote_types(values.dtype, torch.float32))
        # A picture a sound, steps by bands, with a colour for the bands, their slopes, and the slopes of these.
        pictures = known.view(steps, count, channels // bands, bands).permute(1, 2, 0, 3)
        grid = torch.stack(
            torch.broadcast_tensors(self._bands(known)[:, None, :], self._times(known, lengths)[:, :, None]), -1
        )
        moved = F.grid_sample(pictures, grid, align_corners=True, padding_mode="border")
        return torch.where(beyond, values, moved.permute(2, 0, 1, 3).reshape(values.shape).to(values.dtype))

    def _bands(self, like: Tensor) -> Tensor:
        """From which band each is taken, ``[B, bands]``, from -1 to 1 as torch has it."""
        factors = 1 + between(torch.empty(like.shape[1], 1, dtype=torch.float64), self.tract)
        places = self.features.bands_at(factors.numpy() * self.features.centres)
        return like.new_tensor(2 * places / max(self.features.bands - 1, 1) - 1)

    def _times(self, like: Tensor, lengths: Tensor) -> Tensor:
        """From which step each is taken, ``[B, T]``."""
        last = (lengths[:, None].to(like.dtype) - 1).clamp_min(1)
        times = torch.arange(len(like), device=like.device, dtype=like.dtype)
        turns = math.pi * torch.randint_like(last, 1, self.turns + 1) / last
        moved = times + between(torch.empty_like(last), self.tempo) / turns * torch.sin(turns * times)
        return 2 * moved.clamp_min(0).minimum(last) / max(len(like) - 1, 1) - 1


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
        _refuse_other_bands(values, self.bands)
        if not self.training:
            return values
        steps, count, channels = values.shape
        covered = torch.zeros(steps, count, channels, dtype=torch.bool, device=values.device)
        for _ in range(self.times):
            covered |= _stretch(steps, lengths, (lengths // 5).clamp_max(self.longest))[..., None]
        bands = torch.full_like(lengths, self.bands)
        for _ in range(self.frequencies):
            stretch = _stretch(self.bands, bands, torch.full_like(lengths, self.widest))
            covered |= stretch.T.repeat(1, channels // self.bands)
        return values.masked_fill(covered, 0)


class SoundAugment(nn.Module):
    """What is done to sounds that are learnt from: another voice, then masks.

    Args:
        features: how the sounds became spectrograms.

    Shape: values ``[T, B, C]`` and lengths ``[B]`` to ``[T, B, C]``.
    """

    def __init__(self, features: LogMel) -> None:
        super().__init__()
        self.voice, self.masks = VoiceAugment(features), SpecAugment(bands=features.bands)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """The spectrograms as they are learnt from now."""
        return self.masks(self.voice(values, lengths), lengths)


def _refuse_other_bands(values: Tensor, bands: int) -> None:
    if values.shape[-1] % bands:
        raise ShapeError(f"{values.shape[-1]} channels are no multiple of the {bands} bands that they should be of.")


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

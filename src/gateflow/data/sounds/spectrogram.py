"""Log-mel spectrograms: how loud each band of frequencies is, every hundredth of a second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gateflow.data.sounds.samples import RATES, scaled
from gateflow.errors import ConfigError

__all__ = ["LogMel", "deltas"]

# The energy of silence: 100 dB below the loudest sine. Without it the logarithm of digital silence is -inf.
_SILENCE = 1e-10
# In one unit of the natural logarithm of an energy.
_DECIBELS = 10 / math.log(10)
# Steps to each side over which a slope is taken, as in HTK.
_REACH = 2
# Frames that are transformed at once, so that their spectra stay in the processor's cache.
_AT_ONCE = 256
# What a description out of a file may ask for: no more memory than a spectrogram needs.
_LONGEST, _MOST_BANDS = 1.0, 512


@dataclass(frozen=True)
class LogMel:
    r"""The logarithm of a sound's energy in bands that are equally wide for the ear.

    Frame `t` is `window` seconds from `t · hop` on, both rounded to whole samples, times a Hann window `w`; of its
    spectrum `X`, band `m` takes::

        S[t, m] = log max(10⁻¹⁰, Σ_f triangle_m(f) · |X[t, f]|² / (Σ w)²)

    where `triangle_m` rises from 0 to 1 and falls to 0 between three of `bands + 2` frequencies that are equally far
    apart on the scale `mel(f) = 2595 log₁₀(1 + f / 700)`. A sine of amplitude 1 has about log ¼ = -1.4 in its band. A
    sound shorter than a window is made as long by zeros; what follows the last whole frame is left out.

    What is more than `top_db` decibels below the loudest band and frame of the recording is raised to there: a quiet
    room, and silence, which differ from file to file though nobody hears it. Of each band its mean over the recording
    is taken away if it is to be `centred`: how loud all is, and what a voice, a microphone or a room adds to all of it.
    Of a steady hum, or of a single frame, nothing is left then.

    Args:
        rate: samples per second of the sounds that are given.
        bands: bands between `low` and `high`.
        window, hop: seconds.
        low, high: in hertz; `high` is half of the rate if not given.
        top_db: decibels that a recording spans at most; all that there are if not given.
        centred: take away each band's mean over the recording.
        with_deltas: the bands' slopes and the slopes of these too, three numbers a band.

    Raises:
        ConfigError: a band would hold no frequency of the spectrum, or what is asked for is no spectrogram at all.

    Example:
        >>> mel = LogMel(rate=8000, bands=20)
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000).astype(np.float32)
        >>> mel(tone).shape, int(mel(tone)[50].argmax())
        ((98, 20), 9)

    Stevens, Volkmann and Newman 1937, "A scale for the measurement of the psychological magnitude pitch"; the formula
    is O'Shaughnessy's (1987), the features are those of HTK (Young et al. 2006, "The HTK book"). The mean: Atal 1974,
    "Effectiveness of linear prediction characteristics of the speech wave for automatic speaker identification and
    verification".
    """

    rate: int
    bands: int = 40
    window: float = 0.025
    hop: float = 0.010
    low: float = 20.0
    high: float | None = None
    top_db: float | None = None
    centred: bool = False
    with_deltas: bool = False

    def __post_init__(self) -> None:
        if self.rate not in RATES or not (0 < self.hop <= _LONGEST and 0 < self.window <= _LONGEST):
            raise ConfigError(
                f"a window of {self.window:g} s every {self.hop:g} s at {self.rate:,} samples a second: up to "
                f"{_LONGEST:g} s, and {RATES.start:,} to {RATES.stop - 1:,} samples a second can be."
            )
        if self.top_db is not None and not self.top_db > 0:
            raise ConfigError(f"a recording spans more than {self.top_db:g} decibels. Give 50, for example, or none.")
        if not 0 <= self.low < self._top <= self.rate / 2:
            raise ConfigError(
                f"bands from {self.low:g} to {self._top:g} Hz: at {self.rate:,} samples a second 0 to "
                f"{self.rate / 2:g} Hz can be."
            )
        if not (self.hop_samples >= 1 and self.window_samples >= 2 and 1 <= self.bands <= _MOST_BANDS):
            raise ConfigError(
                f"{self.bands} bands of {self.window:g} s every {self.hop:g} s at {self.rate:,} samples a second is no "
                "spectrogram. Give a window and a hop of some samples, and 1 to 512 bands."
            )
        if not (self._filters.sum(axis=0) > 0).all():
            raise ConfigError(
                f"{self.bands} bands from {self.low:g} to {self._top:g} Hz are narrower than the frequencies that "
                f"{self.window:g} s tell apart. Ask for fewer, or for a longer window."
            )

    @property
    def channels(self) -> int:
        """Numbers per frame."""
        return self.bands * (3 if self.with_deltas else 1)

    @property
    def window_samples(self) -> int:
        """Samples that a frame looks at."""
        return round(self.window * self.rate)

    @property
    def hop_samples(self) -> int:
        """Samples from frame to frame."""
        return round(self.hop * self.rate)

    def times(self, frames: int) -> NDArray[np.float64]:
        """When each of some frames begins, in seconds.

        Example:
            >>> LogMel(rate=11025, hop=0.010).times(3) * 11025
            array([  0., 110., 220.])
        """
        # Not by `hop`: a quarter of a sample at each frame is an eighth of a second after a minute.
        return np.arange(frames) * self.hop_samples / self.rate

    @property
    def centres(self) -> NDArray[np.float64]:
        """The frequency at which each band's triangle is highest, in hertz."""
        return self._edges[1:-1]

    def bands_at(self, hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Which band is highest there, between two of them a fraction; below the first it is negative.

        Example:
            >>> mel = LogMel(rate=8000, bands=20)
            >>> [round(float(band), 6) for band in mel.bands_at(mel.centres[[0, 7]])]
            [0.0, 7.0]
        """
        lowest, highest = _mel(np.array([self.low, self._top]))
        return (_mel(hertz) - lowest) / (highest - lowest) * (self.bands + 1) - 1

    def __call__(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """The spectrogram ``[frames, channels]`` of samples from -1 to 1, or of integers of 8 to 32 bits.

        Raises:
            DataError: there are numbers far beyond 1 that are not of these.
        """
        samples = scaled(samples)
        length, hop = self.window_samples, self.hop_samples
        padded = np.pad(samples, (0, max(0, length - len(samples))))
        frames = sliding_window_view(padded, length)[::hop]
        parts = [self._energies(frames[begin : begin + _AT_ONCE]) for begin in range(0, len(frames), _AT_ONCE)]
        logarithms = np.log(np.maximum(np.concatenate(parts), _SILENCE))
        if self.top_db is not None:
            logarithms = np.maximum(logarithms, logarithms.max() - self.top_db / _DECIBELS)
        if self.centred:
            logarithms -= logarithms.mean(axis=0)
        found = logarithms.astype(np.float32)
        if not self.with_deltas:
            return found
        first = deltas(found)
        return np.concatenate([found, first, deltas(first)], axis=1)

    def _energies(self, frames: NDArray[np.float32]) -> NDArray[np.float64]:
        spectra = np.fft.rfft(frames * self._hann, self._points, axis=1)
        return (spectra.real**2 + spectra.imag**2) @ self._filters / self._hann.sum() ** 2

    @property
    def _top(self) -> float:
        return self.rate / 2 if self.high is None else self.high

    @cached_property
    def _hann(self) -> NDArray[np.float64]:
        # Periodic, as spectral analysis has it: np.hanning would end in a second zero.
        return np.hanning(self.window_samples + 1)[:-1]

    @property
    def _points(self) -> int:
        """Of the transform: the next power of two."""
        return 1 << math.ceil(math.log2(len(self._hann)))

    @property
    def _edges(self) -> NDArray[np.float64]:
        """Where the triangles begin, are highest and end."""
        lowest, highest = _mel(np.array([self.low, self._top]))
        return _hertz(np.linspace(lowest, highest, self.bands + 2))

    @cached_property
    def _filters(self) -> NDArray[np.float64]:
        """The triangles ``[frequencies, bands]``."""
        edges = self._edges
        frequencies = np.fft.rfftfreq(self._points, 1 / self.rate)[:, None]
        rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
        return np.clip(np.minimum(rising, falling), 0, None)


def deltas(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The slope of each channel over two steps to each side, by least squares; the ends are as if they went on.

    Args:
        values: ``[T, C]``.

    Example:
        >>> deltas(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=np.float32)).ravel()
        array([0.5, 0.8, 1. , 0.8, 0.5], dtype=float32)
    """
    padded = np.pad(values, ((_REACH, _REACH), (0, 0)), mode="edge")
    # For each step the one `k` after it; k from -2 to 2.
    weights = [(k, padded[_REACH + k : _REACH + k + len(values)]) for k in range(-_REACH, _REACH + 1)]
    slopes = np.stack([k * moved for k, moved in weights]).sum(axis=0)
    return (slopes / sum(k * k for k, _ in weights)).astype(np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2595 * np.log10(1 + hertz / 700)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return 700 * (10 ** (mel / 2595) - 1)

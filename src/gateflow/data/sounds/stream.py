"""A sound as it comes: samples in pieces of any size, and the frames of a spectrogram as soon as each is whole."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gateflow.data.sounds.samples import RATES, read_samples, scaled
from gateflow.data.sounds.spectrogram import LogMel
from gateflow.data.source import STDIN, require
from gateflow.errors import ConfigError, DataError

__all__ = ["LogMelStream", "pieces_of"]

# Seconds of a piece of a file.
_PIECE = 0.1
# Bytes of a sample that is piped in.
_WIDTH = 2
# Of such a sample, which stands for 1.
_FULL = 32768
# How files begin that are piped in with their head, which would be heard as a click, and what follows as noise.
_HEADS = {
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"ID3": "MP3",
}


class LogMelStream:
    """The frames of a `LogMel`, a few at a time: all together those of the whole sound.

    Args:
        features: without slopes, a floor in decibels or centring, which look at the whole recording.

    Raises:
        ConfigError: they have one of these.

    Example:
        >>> mel = LogMel(rate=8000, bands=20)
        >>> sound = np.sin(np.arange(4000) / 9).astype(np.float32)
        >>> stream = LogMelStream(mel)
        >>> parts = [stream.frames(sound[:900]), stream.frames(sound[900:]), stream.rest()]
        >>> bool(np.allclose(np.concatenate(parts), mel(sound), atol=1e-5))
        True
    """

    def __init__(self, features: LogMel) -> None:
        if features.with_deltas or features.top_db is not None or features.centred:
            raise ConfigError(
                "these spectrograms look at a whole recording (--deltas, --top-db or --centred), so that none of it "
                "can be read before its end; train without them."
            )
        self.features = features
        self._left = np.zeros(0, dtype=np.float32)
        # Samples between a frame and the next one, where frames are further apart than they are long.
        self._to_skip = 0
        self._began = False

    def frames(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """What is whole with these samples, ``[frames, channels]``; often nothing."""
        # Before they are put behind others, which would make floating-point numbers of integers.
        samples = scaled(samples)
        hop, window = self.features.hop_samples, self.features.window_samples
        joined = np.concatenate([self._left, samples[self._to_skip :]])
        count = 0 if len(joined) < window else 1 + (len(joined) - window) // hop
        self._left = joined[count * hop :]
        self._to_skip = max(0, self._to_skip - len(samples)) + max(0, count * hop - len(joined))
        self._began |= count > 0
        if not count:
            return np.zeros((0, self.features.channels), dtype=np.float32)
        return self.features(joined[: (count - 1) * hop + window])

    def rest(self) -> NDArray[np.float32]:
        """What is left at the end: one frame of a sound that is shorter than a window, else nothing."""
        if self._began or not len(self._left):
            return np.zeros((0, self.features.channels), dtype=np.float32)
        self._began = True
        return self.features(self._left)


def pieces_of(path: Path, rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of a file in pieces of a tenth of a second; or those that are piped in, as they come.

    Args:
        path: a sound, or ``-``: 16-bit samples, little-endian, one channel, without a head, as
            ``arecord -t raw -f S16_LE -r RATE`` and ``sox -t raw -e signed -b 16 -`` write them.
        rate: samples per second that there must be.

    Raises:
        DataError: the file cannot be read, or has another rate; nothing is piped in, or a file with its head.
    """
    assert rate in RATES
    if path != STDIN:
        samples = read_samples(path)
        if samples.rate != rate:
            raise DataError(
                f"{path} has {samples.rate:,} samples a second, and a stream is read with {rate:,}. Convert it first, "
                "or leave --stream out."
            )
        size = max(1, round(_PIECE * rate))
        yield from (samples.values[begin : begin + size] for begin in range(0, len(samples.values), size))
        return
    require(path)
    half, came = b"", False
    source = cast("BufferedReader", sys.stdin.buffer)
    # What is there already, not all of a piece: a sound is heard as it comes.
    while data := source.read1(round(_PIECE * rate) * _WIDTH):
        if not came:
            _refuse_file(data)
        data, came = half + data, True
        whole = len(data) // _WIDTH * _WIDTH
        half = data[whole:]
        yield np.frombuffer(data[:whole], dtype="<i2").astype(np.float32) / np.float32(_FULL)
    if not came:
        raise DataError("nothing was piped in, not one sample. Look whether the command before the | has worked.")


def _refuse_file(first: bytes) -> None:
    if kind := next((kind for head, kind in _HEADS.items() if first.startswith(head)), None):
        raise DataError(
            f"what is piped in is a {kind} file, and samples without a head are wanted. Give the file's name, or pipe "
            "what `sox FILE -t raw -e signed -b 16 -c 1 -r RATE -` writes."
        )

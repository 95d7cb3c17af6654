"""Samples out of a file with sound: one channel, one rate, from -1 to 1."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import ConfigError, DataError

__all__ = ["read_samples"]

# An hour at 48 kHz; what is longer is no sequence that a network should read at once.
_MOST_SECONDS = 3600
_RATES = range(1000, 384_001)


def read_samples(path: Path, rate: int) -> NDArray[np.float32]:
    """The sound of a WAV, FLAC or other file that libsndfile reads, as the mean of its channels.

    Args:
        path: the file; integers of 8 to 32 bits and floating-point numbers alike.
        rate: samples per second that are wanted; sound of another rate is resampled (soxr, its very high quality).

    Returns:
        ``[samples]`` from -1 to 1.

    Raises:
        ConfigError: the extra ``gateflow[audio]`` is not installed.
        DataError: the file is missing, is no sound, is damaged or empty, is longer than an hour, or holds NaN.
    """
    soundfile, soxr = _libraries()
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is no file. Give the path of a WAV or FLAC file.")
    try:
        with soundfile.SoundFile(path) as file:
            found, own = _bounded(file, path), int(file.samplerate)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read as sound: {error!s:.120} Give a WAV or FLAC file.") from None
    if not np.isfinite(found).all():
        raise DataError(f"{path} holds samples that are NaN or infinite. Write the sound again.")
    mono = found.mean(axis=1, dtype=np.float32)
    return mono if own == rate else soxr.resample(mono, own, rate, quality="VHQ").astype(np.float32)


def _bounded(file: object, path: Path) -> NDArray[np.float32]:
    """All samples ``[samples, channels]``, if there are some and not far too many, whatever the header claims."""
    rate, claimed = file.samplerate, file.frames  # type: ignore[attr-defined]
    if rate not in _RATES:
        raise DataError(f"{path}: {rate:,} samples a second; {_RATES.start:,} to {_RATES.stop - 1:,} can be.")
    if claimed > _MOST_SECONDS * rate:
        raise DataError(f"{path} lasts {claimed / rate:,.0f} seconds, and {_MOST_SECONDS:,} at most are read. Cut it.")
    found = file.read(dtype="float32", always_2d=True)  # type: ignore[attr-defined]
    if not len(found):
        raise DataError(f"{path} holds no sound: it has no samples.")
    return found


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import soundfile
        import soxr
    except ImportError:
        raise ConfigError("sounds need soundfile and soxr: pip install 'gateflow[audio]'.") from None
    return soundfile, soxr

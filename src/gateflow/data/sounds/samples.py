"""Samples out of a file with sound: one channel, one rate, from -1 to 1."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import ConfigError, DataError

if TYPE_CHECKING:
    from soundfile import SoundFile

__all__ = ["RATES", "Samples", "rate_of", "read_samples", "scaled"]

T = TypeVar("T")

RATES = range(1000, 384_001)
"""Samples per second that can be."""

# What is longer is no sequence that a network should read at once: 691 MB at 48 kHz.
_MOST_SECONDS = 3600
# Frames that are read at once: with a thousand channels 256 MB.
_AT_ONCE = 1 << 16
# Floating-point sound may pass 1 a little. 24 dB above it the samples are integers that nobody has divided.
_LOUDEST = 16.0
# What integers are at rest, and how far they go from there.
_FULL = {
    np.dtype(np.uint8): (128, 128),
    np.dtype(np.int8): (0, 1 << 7),
    np.dtype(np.int16): (0, 1 << 15),
    np.dtype(np.int32): (0, 1 << 31),
}
# What libsndfile writes down where a header claims more bytes of samples than there are: WAV, AIFF, AU.
_CUT = re.compile(r"^\s*(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
# Programs that write into a pipe cannot know the size, and claim about 2 or 4 GiB.
_UNKNOWN_SIZE = 0x7FF0_0000


class Samples(NamedTuple):
    """A sound.

    Attributes:
        values: ``[samples]`` float32, from -1 to 1.
        rate: samples per second.
    """

    values: NDArray[np.float32]
    rate: int

    def at(self, rate: int) -> NDArray[np.float32]:
        """The same sound with so many samples per second (soxr, its very high quality).

        Raises:
            ConfigError: the extra ``gateflow[audio]`` is not installed.
        """
        if self.rate == rate:
            return self.values
        soxr = _libraries()[1]
        return soxr.resample(self.values, self.rate, rate, quality="VHQ").astype(np.float32)


def read_samples(path: Path) -> Samples:
    """The sound of a WAV, FLAC or other file that libsndfile reads, as the mean of its channels.

    Args:
        path: the file; integers of 8 to 32 bits and floating-point numbers alike.

    Raises:
        ConfigError: the extra ``gateflow[audio]`` is not installed.
        DataError: the file is missing, is no sound, is damaged, cut short or empty, is longer than an hour, or holds
            NaN or numbers far beyond 1.
    """
    return _opened(path, _whole)


def scaled(samples: NDArray[Any], name: str = "the sound") -> NDArray[np.floating]:
    """Samples that are given in Python, from -1 to 1, as those of a file are: integers of 8 to 32 bits by their width.

    Args:
        samples: of any shape; uint8 is 128 at rest, as in a WAV file, and floating-point numbers stay as they are.
        name: of the sound, in messages.

    Raises:
        DataError: there are numbers far beyond 1 whose width does not say what they are.

    Example:
        >>> scaled(np.array([0, 16384, -32768], dtype=np.int16)).tolist()
        [0.0, 0.5, -1.0]
    """
    samples = np.asarray(samples)
    kind = samples.dtype.newbyteorder("=")
    if kind in _FULL:
        zero, full = _FULL[kind]
        # By way of float64, in which 32 bits have room.
        return ((samples.astype(np.float64) - zero) / full).astype(np.float32)
    found = samples if np.issubdtype(samples.dtype, np.floating) else samples.astype(np.float32)
    if found.size and (most := np.abs(found).max()) > _LOUDEST:
        raise DataError(
            f"{name} holds samples up to {most:.6g}, and sound lies between -1 and 1. Scale it, or give integers as an "
            "array of int16, or of how many bits they have."
        )
    return found


def rate_of(path: Path) -> int:
    """Samples per second, out of the head of a file.

    Raises:
        ConfigError: the extra ``gateflow[audio]`` is not installed.
        DataError: the file is missing, or is no sound.
    """
    return _opened(path, _rate)


def _opened(path: Path, read: Callable[[SoundFile, Path], T]) -> T:
    soundfile, _ = _libraries()
    try:
        _require(path)
        with soundfile.SoundFile(path) as file:
            return read(file, path)
    except DataError:
        raise
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        told = " ".join(str(error).removeprefix(f"Error opening {str(path)!r}: ").split())
        # Of some damage libsndfile says nothing.
        told = told or "it is damaged."
        raise DataError(f"{path} cannot be read as sound: {told:.120} Give a WAV or FLAC file.") from None


def _require(path: Path) -> None:
    """Refuse what is no file: libsndfile would wait at a pipe for ever."""
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is no file. Give the path of a WAV or FLAC file.")


def _whole(file: SoundFile, path: Path) -> Samples:
    """All samples, if there are some and not far too many, whatever the header claims."""
    rate, claimed = _rate(file, path), file.frames
    if claimed > _MOST_SECONDS * rate:
        raise DataError(f"{path} lasts {claimed / rate:,.0f} seconds, and {_MOST_SECONDS:,} at most are read. Cut it.")
    parts = []
    while len(part := file.read(_AT_ONCE, dtype="float32", always_2d=True)):
        with np.errstate(invalid="ignore"):  # inf and -inf, told below
            # In float64, in which the largest numbers of float32 have a sum.
            parts.append(part.mean(axis=1, dtype=np.float64))
    found = np.concatenate([np.zeros(0), *parts])
    _refuse_damage(file, found, claimed, path)
    return Samples(found.astype(np.float32), rate)


def _rate(file: SoundFile, path: Path) -> int:
    if file.samplerate not in RATES:
        raise DataError(f"{path}: {file.samplerate:,} samples a second; {RATES.start:,} to {RATES.stop - 1:,} can be.")
    return int(file.samplerate)


def _refuse_damage(file: SoundFile, found: NDArray[np.float64], claimed: int, path: Path) -> None:
    sizes = [(int(said), int(there)) for said, there in _CUT.findall(file.extra_info)]
    if len(found) < claimed or any(there < said < _UNKNOWN_SIZE for said, there in sizes):
        raise DataError(f"{path} is cut short or damaged: its head claims more samples than follow. Copy it again.")
    if not len(found):
        raise DataError(f"{path} holds no sound: it has no samples.")
    if not np.isfinite(found).all():
        raise DataError(f"{path} holds samples that are NaN or infinite. Write the sound again.")
    if (most := np.abs(found).max()) > _LOUDEST:
        raise DataError(f"{path} holds samples up to {most:.6g}, and sound lies between -1 and 1. Scale it.")


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import soundfile
        import soxr
    except (ImportError, OSError):  # OSError: soundfile is there, and libsndfile is not
        raise ConfigError("sounds need soundfile and soxr: pip install 'gateflow[audio]'.") from None
    return soundfile, soxr

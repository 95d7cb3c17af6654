"""Sounds as number sequences: of each recording the log-mel spectrogram, a row a frame.

file → samples of one rate → spectrogram → Series
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateflow.data.bad_files import read_each
from gateflow.data.listing import ListedFile
from gateflow.data.series.series import Series
from gateflow.data.sounds.recordings import recordings
from gateflow.data.sounds.samples import rate_of, read_samples
from gateflow.data.sounds.spectrogram import LogMel
from gateflow.data.source import spoken
from gateflow.data.track import Track
from gateflow.errors import DataError, DataWarning

__all__ = ["commonest_rate", "read_sounds", "spectrograms"]


def read_sounds(
    path: str | Path,
    features: LogMel,
    *,
    skip_bad: bool = False,
    track: Track = lambda items, doing, total: items,
) -> Iterator[Series]:
    """Yield the spectrogram of each recording of a folder, a list or a file, one at a time.

    A recording of another rate is resampled to that of the features, channels are averaged, and a recording shorter
    than a window is one frame.

    Args:
        path: see `gateflow.data.sounds.recordings.recordings`.
        features: how sounds become numbers; its rate holds for all.
        skip_bad: leave out files that cannot be read, and warn of them at the end. A list that is no list is refused
            all the same, and so is one of which no file can be read.
        track: shows progress over the recordings.

    Raises:
        ConfigError: the extra ``gateflow[audio]`` is not installed.
        DataError: nothing is there, or a file is missing, is no sound, is damaged or empty. The message names it.

    Warns:
        DataWarning: files were left out; recordings have a lower rate, so that their upper bands are empty.

    Example:
        >>> import tempfile, numpy as np, soundfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "hum").mkdir()
        >>> soundfile.write(folder / "hum" / "a.wav", np.sin(np.arange(8000) / 9), 8000)
        >>> found = next(read_sounds(folder, LogMel(rate=commonest_rate(folder), bands=20)))
        >>> found.label, found.values.shape
        ('hum', (98, 20))
    """
    yield from spectrograms(recordings(path), spoken(Path(path)), features, skip_bad=skip_bad, track=track)


def spectrograms(
    files: Sequence[ListedFile],
    where: str,
    features: LogMel,
    *,
    skip_bad: bool = False,
    track: Track = lambda items, doing, total: items,
) -> Iterator[Series]:
    """Yield the spectrogram of each of some files; `where` is what they are called together, all else as above."""
    lower: Counter[int] = Counter()
    read = partial(_spectrogram, features=features)
    for series, rate in read_each(files, read, where, skip_bad=skip_bad, doing="reading sounds", track=track):
        lower.update([rate] if rate < features.rate else ())
        yield series
    _tell_lower(lower, len(files), features.rate, where)


def commonest_rate(path: str | Path | Sequence[ListedFile]) -> int:
    """The samples per second that most recordings have; of two that are equally common the higher one.

    Args:
        path: as of `recordings`, or the files. Only their heads are read; those that cannot be read are passed over.

    Raises:
        ConfigError: the extra ``gateflow[audio]`` is not installed.
        DataError: as `recordings`; or not one file can be read.
    """
    found = recordings(path) if isinstance(path, str | Path) else path
    rates = Counter(_rates(found))
    if not rates:
        rate_of(found[0].path)  # says why
        raise DataError(f"{found[0].path}: not one of {len(found):,} files can be read as sound.")
    return max(rates, key=lambda rate: (rates[rate], rate))


def _rates(found: Iterable[ListedFile]) -> Iterator[int]:
    for recording in found:
        with suppress(DataError):
            yield rate_of(recording.path)


def _spectrogram(recording: ListedFile, features: LogMel) -> tuple[Series, int]:
    samples = read_samples(recording.path)
    values = features(samples.at(features.rate))
    place = f"recording {recording.name!r}"
    return Series(values, place, recording.label, name=recording.name, group=recording.group), samples.rate


def _tell_lower(lower: Counter[int], count: int, rate: int, where: str) -> None:
    if not lower:
        return
    rates = ", ".join(f"{each:,}" for each in sorted(lower))
    warnings.warn(
        f"{where}: {lower.total():,} of {count:,} recordings have fewer than {rate:,} samples a second ({rates}), and "
        f"nothing in the upper bands, by which they can be told from the others. Give a lower rate for all.",
        DataWarning,
        stacklevel=3,
    )

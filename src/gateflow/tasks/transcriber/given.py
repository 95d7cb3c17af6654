"""Lines that are given in Python: names of files, pictures, samples or strokes as arrays, and their texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.data.bad_files import read_each
from gateflow.data.images.lines import LineImage
from gateflow.data.images.pixels import IMAGES
from gateflow.data.listing import ListedFile, is_file_of
from gateflow.data.series import Series
from gateflow.data.sounds.reading import commonest_rate
from gateflow.data.sounds.recordings import SOUNDS
from gateflow.data.sounds.samples import scaled
from gateflow.data.strokes.reading import CHANNELS, points_along, points_of
from gateflow.data.text import half_character
from gateflow.data.transcripts import plain
from gateflow.errors import DataError
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.inputs import INPUTS

__all__ = ["for_each", "kind_of_given", "lines_of", "rate_of_given", "with_texts"]


def kind_of_given(X: Sequence[Any]) -> str:
    """``image``, ``sound`` or ``strokes``, by the first of some lines.

    Raises:
        DataError: it is none of these.
    """
    first = X[0] if len(X) else None
    if isinstance(first, str | Path):
        kinds = {"image": IMAGES, "sound": SOUNDS}
        found = next((kind for kind, endings in kinds.items() if is_file_of(Path(first), endings)), None)
        if found is not None:
            return found
    elif isinstance(first, list | tuple):
        return "strokes"
    elif isinstance(first, np.ndarray) and first.ndim in (1, 2):
        return "sound" if first.ndim == 1 else "image"
    raise DataError(
        f"X begins with {first!r:.60}, which is no line. Give names of pictures or sounds, grey values [height, "
        "width], samples [samples], or lists of points [x, y, pen]."
    )


def rate_of_given(X: Sequence[Any]) -> int | None:
    """The samples a second that most files have; None where there are no files."""
    files = [ListedFile(Path(x), str(x)) for x in X if isinstance(x, str | Path)]
    return commonest_rate(files) if files else None


def lines_of(X: Iterable[Any], config: TranscriberConfig) -> Iterator[Series]:
    """Yield lines as a run reads them; `config` says which kind they are, and how they are read.

    Raises:
        DataError: one cannot be read.
        ConfigError: samples are given and no rate.
    """
    X = list(X)
    return for_each(_read(X, [(None, None)] * len(X), config, skip_bad=False))


def for_each(lines: Iterable[Series]) -> Iterator[Series]:
    """Yield lines of which each is to have an answer, so that no message says how one is left out."""
    try:
        yield from lines
    except DataError as error:
        raise error.__cause__ if isinstance(error.__cause__, DataError) else error from None


def with_texts(
    X: Iterable[Any], y: Iterable[Any], config: TranscriberConfig, groups: Iterable[Any] | None = None
) -> list[Series]:
    """Lines with their texts, and the writer or speaker of each; with ``skip_bad`` without those that cannot be read.

    Raises:
        DataError: there are none, or not as many of each, or a text is empty or none; or one cannot be read.
    """
    if isinstance(y, str):
        raise DataError(f"y is the text {y!r:.60}; give a list with the text of each line.")
    X, y, groups = list(X), list(y), None if groups is None else list(groups)
    for what, given in (("texts", y), ("groups", groups)):
        if given is not None and len(given) != len(X):
            raise DataError(f"{len(X)} lines were given and {len(given)} {what}; give one for each of them.")
    if not X:
        raise DataError("no lines were given; give some, as fit(['a.png', 'b.png'], ['a cat', 'a dog']).")
    known = [(_text(i, text), None if groups is None else str(groups[i])) for i, text in enumerate(y)]
    return list(_read(X, known, config, skip_bad=config.data.skip_bad))


def _text(i: int, text: Any) -> str:
    if not isinstance(text, str) or not plain(text):
        raise DataError(f"line {i} has the text {text!r:.60}; give a text with at least one character.")
    if half_character(text) is not None:
        raise DataError(f"line {i} has the text {text!r:.60}, which holds half of a character; read it anew.")
    return plain(text)


def _read(
    X: Sequence[Any], known: Sequence[tuple[str | None, str | None]], config: TranscriberConfig, *, skip_bad: bool
) -> Iterator[Series]:
    """Yield the lines, with what is known of each: its text and its group."""
    if X and all(isinstance(x, str | Path) for x in X):
        files = [ListedFile(Path(x), str(x), *more) for x, more in zip(X, known, strict=True)]
        return INPUTS[config.kind].read_files(files, "X", config, skip_bad=skip_bad)

    def read(i: int) -> Series:
        text, group = known[i]
        return replace(_line(i, X[i], config), label=text, group=group)

    return read_each(range(len(X)), read, "X", skip_bad=skip_bad, what="lines")


def _line(i: int, given: Any, config: TranscriberConfig) -> Series:
    try:
        return _READ[config.kind](given, f"line {i}", config)
    except DataError:  # which is a ValueError, and says more
        raise
    except (TypeError, ValueError):
        raise DataError(f"line {i} is {given!r:.60}, and no {INPUTS[config.kind].one}.") from None


def _picture(given: Any, name: str, config: TranscriberConfig) -> Series:
    grey = np.asarray(given, dtype=np.float32)
    if grey.ndim != 2 or not grey.size or not np.isfinite(grey).all():
        raise DataError(f"{name}: grey values [height, width] are wanted, without NaN; found {list(grey.shape)}.")
    # Values of up to 1 are fractions of white.
    grey = grey * 255 if grey.max() <= 1 else grey
    try:
        values = LineImage(config.images.height, config.images.ink).ink_of(grey)
    except DataError as error:
        raise DataError(f"{name} {error}") from None
    return Series(values, name, times=np.arange(len(values)) * (grey.shape[1] / len(values)), name=name)


def _sound(given: Any, name: str, config: TranscriberConfig) -> Series:
    samples: NDArray[Any] = np.asarray(given)
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise DataError(f"{name}: samples [samples] are wanted, without NaN; found {list(samples.shape)}.")
    features = config.sounds.features()
    values = features(scaled(samples, name).astype(np.float32))
    return Series(values, name, times=features.times(len(values)), name=name)


def _strokes(given: Any, name: str, config: TranscriberConfig) -> Series:
    listed = given.tolist() if isinstance(given, np.ndarray) else [list(point) for point in given]
    values, times = points_along(points_of(listed, name), config.strokes.spacing)
    return Series(values, name, times=times, name=name, channel_names=CHANNELS)


_READ = {"image": _picture, "sound": _sound, "strokes": _strokes}

"""A line of writing as ink by column: dark on light or the other way, of one height, its contrast stretched."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gateflow.data.bad_files import read_each
from gateflow.data.images.pixels import read_grey
from gateflow.data.listing import ListedFile
from gateflow.data.series import Series
from gateflow.data.track import Track
from gateflow.errors import DataError, DataWarning

__all__ = ["Ink", "LineImage", "read_line_images"]

Ink = Literal["auto", "dark", "light"]

# Of the grey values, which are black and white: a few specks and the shine of a page are neither.
_DARKEST, _LIGHTEST = 1.0, 95.0
# Percent of the pixels that may be specks.
_SPECKS = 0.5
# Less than this between both, of 255, is the noise of an empty page.
_LEAST_CONTRAST = 8.0
# Pictures that a warning names.
_NAMED = 3
# Columns that a line may have when it is as high as it is read: a square would have as many as its height.
_MOST_COLUMNS = 1 << 16


@dataclass(frozen=True)
class LineImage:
    """How a picture of a line becomes what a network reads.

    Of the grey values the 1st percentile is full ink and the 95th is paper, or the other way where ink is light; what
    lies beyond is either. Then the picture is scaled to the height, its width in proportion (bilinear, over all pixels
    that one is made of).

    Args:
        height: rows.
        ink: "dark" on light paper, "light" on dark, or "auto": the side on which fewer pixels lie.

    Example:
        >>> page = np.full((60, 300), 250, dtype=np.float32)
        >>> page[20:40, 30:33] = 5
        >>> LineImage(height=20).ink_of(page).shape
        (100, 20)
    """

    height: int = 48
    ink: Ink = "auto"

    def __call__(self, path: Path) -> tuple[NDArray[np.uint8], float]:
        """The ink of a file, ``[columns, height]`` from 0 to 255, and how many of its columns became one.

        Raises:
            ConfigError: Pillow is not installed.
            DataError: the file cannot be read, is empty, or so wide that it is no line.
        """
        grey = read_grey(path)
        try:
            found = self.ink_of(grey)
        except DataError as error:
            raise DataError(f"{path} {error}") from None
        return found, grey.shape[1] / len(found)

    def ink_of(self, grey: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The ink of grey values ``[height, width]``, as `__call__` gives it.

        Raises:
            DataError: nothing is on it, or it is too wide.
        """
        rows, columns = grey.shape
        width = max(1, round(columns * self.height / rows))
        if width > _MOST_COLUMNS:
            raise DataError(f"is {columns:,} pixels wide and {rows:,} high, which is no line. Cut it.")
        lowest, highest = _range(grey)
        if highest - lowest < _LEAST_CONTRAST:
            raise DataError(
                f"is empty: its pixels differ by {highest - lowest:.3g} of 255, and ink and paper by "
                f"{_LEAST_CONTRAST:g} or more. Give a picture with writing, or stretch its contrast."
            )
        if self.ink == "light" or (self.ink == "auto" and np.median(grey) < (lowest + highest) / 2):
            grey, lowest, highest = -grey, -highest, -lowest
        dark, light = np.percentile(grey, [_DARKEST, _LIGHTEST])
        if light - dark < _LEAST_CONTRAST:  # hardly any of it is ink
            dark, light = lowest, highest
        ink = np.clip((light - grey) / (light - dark), 0, 1) * 255
        return np.ascontiguousarray(self._scaled(ink.astype(np.float32), width).T)

    def _scaled(self, ink: NDArray[np.float32], width: int) -> NDArray[np.uint8]:
        if ink.shape != (self.height, width):
            from PIL import Image

            picture = Image.fromarray(ink).resize((width, self.height), Image.Resampling.BILINEAR)
            ink = np.asarray(picture)
        return np.clip(np.rint(ink), 0, 255).astype(np.uint8)


def read_line_images(
    files: Sequence[ListedFile],
    where: str,
    form: LineImage,
    *,
    skip_bad: bool = False,
    track: Track = lambda items, doing, total: items,
) -> Iterator[Series]:
    """Yield each of some pictures as a series: a step a column, its values ink, its time the column in the file.

    Args:
        files: with their texts as labels.
        where: what they are called together, in messages.
        form: how they are read.
        skip_bad, track: as for `gateflow.data.bad_files.read_each`.

    Raises:
        ConfigError: Pillow is not installed.
        DataError: a file cannot be read.

    Warns:
        DataWarning: files were left out; pictures are higher than wide.
    """
    upright: list[str] = []
    read = partial(_series, form=form)
    for series in read_each(files, read, where, skip_bad=skip_bad, doing="reading pictures", track=track):
        if len(series) < form.height:
            upright.append(series.name or series.place)
        yield series
    if upright:
        names = ", ".join(upright[:_NAMED]) + (", …" if len(upright) > _NAMED else "")
        warnings.warn(
            f"{where}: {len(upright):,} of {len(files):,} pictures are higher than wide: {names}. A line is read from "
            "left to right; turn what lies on its side, and cut lines out of pages.",
            DataWarning,
            stacklevel=3,
        )


def _series(file: ListedFile, form: LineImage) -> Series:
    values, scale = form(file.path)
    times = np.arange(len(values)) * scale
    return Series(values, f"image {file.name!r}", file.label, times=times, name=file.name, group=file.group)


def _range(grey: NDArray[np.float32]) -> tuple[float, float]:
    """The darkest and the lightest values, without a few specks if that leaves something."""
    low, high = np.percentile(grey, [_SPECKS, 100 - _SPECKS])
    return (low, high) if high - low >= _LEAST_CONTRAST else (float(grey.min()), float(grey.max()))

"""One sequence of numbers, and how numbers are taken out of text: none is believed before it has been looked at."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.data.labelled import Label
from gateflow.data.series.moments import Moments
from gateflow.errors import DataError

__all__ = ["MISSING", "Series", "checked", "is_number_or_missing", "numbers"]

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-nan"})
"""What stands for a value that nobody has measured, in small letters."""

# Of the spread of a channel, what rounding to float32 may take away; and the spread that is rounding itself.
_MOST_LOST, _ROUNDING = 0.05, 1e-12


@dataclass(frozen=True, eq=False)
class Series:
    """A sequence of numbers out of a file.

    Attributes:
        values: ``[T, C]`` float32, or uint8 of pictures, a row a step and a column a channel; NaN where a value is
            missing. ``T`` is 1 or more.
        place: where it stands, as messages say it: ``line 7``, ``case 7``, ``series 'a'``.
        label: what the series is, as it was written; None where the file does not say so. Given in Python it may be a
            whole number.
        step_labels: what each step is; None likewise. One that is not known is empty.
        times: ``[T]``, when each step was, never falling: float64, or datetime64; None where steps are only counted.
        name: what the file calls the series, if it does.
        channel_names: what it calls the channels; none where it only counts them.
        group: what it belongs to, such as a speaker; None where that is not known.
        several: its labels, where it may have any number of them; None elsewhere.
        utc: whether dates were written with their offset, and are in UTC now.
    """

    values: NDArray[Any]
    place: str
    label: Label | None = None
    step_labels: tuple[Label, ...] | None = None
    times: Moments | None = None
    name: str | None = None
    channel_names: tuple[str, ...] = ()
    group: str | None = None
    several: tuple[Label, ...] | None = None
    utc: bool = False

    @property
    def labels(self) -> tuple[Label, ...]:
        """Its label, or its several ones; or those of its steps; none where there are none."""
        if self.several is not None:
            return self.several
        return (self.label,) if self.label is not None else self.step_labels or ()

    @property
    def key(self) -> Hashable:
        """Equal for series of equal values at equal times."""
        times = b"" if self.times is None else self.times.tobytes()
        return self.values.shape, hashlib.sha256(self.values.tobytes() + times).digest()

    @property
    def channels(self) -> int:
        """Numbers per step."""
        return self.values.shape[1]

    def with_values(self, values: NDArray[np.float32], channel_names: tuple[str, ...]) -> Series:
        """The same series with other channels."""
        return replace(self, values=values, channel_names=channel_names)

    def __len__(self) -> int:
        return len(self.values)


def numbers(cells: Sequence[str], where: str) -> NDArray[np.float64]:
    """Numbers out of text; NaN for what stands for a missing one.

    Args:
        cells: a number each.
        where: file and line, for messages.

    Raises:
        DataError: one is no number, or infinite.

    Example:
        >>> numbers(["1", " 2.5e1", "?"], "x.ts, line 1")
        array([ 1., 25., nan])
    """
    found = _plain(cells)
    if found is None:
        found = np.array([_number(cell, where) for cell in cells], dtype=np.float64)
    if np.isinf(found).any():
        cell = cells[int(np.isinf(found).argmax())]
        raise DataError(f"{where}: {cell.strip()!r:.40} is infinite. Write NaN where there is no value.")
    return found


def is_number_or_missing(cell: str) -> bool:
    """Whether `numbers` takes it.

    Example:
        >>> is_number_or_missing("2.5"), is_number_or_missing("?"), is_number_or_missing("dry")
        (True, True, False)
    """
    try:
        return not math.isinf(_number(cell, ""))
    except DataError:
        return False


def checked(values: NDArray[np.floating], where: str) -> NDArray[np.float32]:
    """The values in float32, if they fit into it.

    Raises:
        DataError: one is infinite, or too large.
    """
    with np.errstate(over="ignore"):  # told below, in words
        found = values.astype(np.float32)
    if np.isfinite(values).any() and not np.isinf(found).any():
        _refuse_loss(values, found, where)
    if (wrong := np.isinf(found)).any():
        step, channel = np.argwhere(wrong)[0]
        told = values[step, channel]
        what = "is infinite" if math.isinf(told) else "is more than float32 can hold"
        raise DataError(
            f"{where}: the value {told:.6g} of step {step + 1}, channel {channel + 1} {what}. "
            "Write NaN where there is no value, and scale what is that large."
        )
    return found


def _refuse_loss(values: NDArray[np.floating], found: NDArray[np.float32], where: str) -> None:
    """Refuse what varies by less than float32 tells apart, such as seconds since 1970 or 1e9 and some."""
    known = np.isfinite(values).sum(axis=0) > 1
    exact = values[:, known].astype(np.float64)
    if not exact.size:
        return
    spread, size = np.nanstd(exact, axis=0), np.nanmax(np.abs(exact), axis=0)
    lost = np.nanmax(np.abs(exact - found[:, known]), axis=0)
    # What varies by the rounding of its last digit is constant.
    if (wrong := (lost > _MOST_LOST * spread) & (spread > _ROUNDING * size)).any():
        which = int(np.flatnonzero(known)[wrong.argmax()])
        raise DataError(
            f"{where}: channel {which + 1} lies about {size[wrong][0]:.4g} and varies by {spread[wrong][0]:.3g}, which "
            "float32 does not tell apart. Subtract a constant from it first."
        )


def _plain(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """All at once, where each is a number as it is usually written; none otherwise."""
    with suppress(ValueError):
        # NumPy and Python take 1_000 for a number.
        return None if any("_" in cell for cell in cells) else np.array(cells, dtype=np.float64)
    return None


def _number(cell: str, where: str) -> float:
    if cell.strip().lower() in MISSING:
        return math.nan
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    raise DataError(f"{where}: {cell.strip()!r:.40} is no number. Write ? or NaN where a value is missing.")

"""One sequence of numbers, and how numbers are taken out of text: none is believed before it has been looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateflow.data.series.moments import Moments
from gateflow.errors import DataError

__all__ = ["MISSING", "Series", "checked", "numbers"]

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-nan"})
"""What stands for a value that nobody has measured, in small letters."""

# Of the spread of a channel, what rounding to float32 may take away; and the spread that is rounding itself.
_MOST_LOST, _ROUNDING = 0.05, 1e-12


@dataclass(frozen=True, eq=False)
class Series:
    """A sequence of numbers out of a file.

    Attributes:
        values: ``[T, C]`` float32, a row a step and a column a channel; NaN where a value is missing. ``T`` is 1 or
            more.
        place: where it stands, as messages say it: ``line 7``, ``case 7``, ``series 'a'``.
        label: what the series is, as it was written; None where the file does not say so.
        step_labels: what each step is; None likewise.
        times: ``[T]``, when each step was, never falling: float64, or datetime64 in UTC; None where steps are only
            counted.
        name: what the file calls the series, if it does.
        channel_names: what it calls the channels; none where it only counts them.
        group: who or what it belongs to, such as a speaker; None where that is not known.
    """

    values: NDArray[np.float32]
    place: str
    label: str | None = None
    step_labels: tuple[str, ...] | None = None
    times: Moments | None = None
    name: str | None = None
    channel_names: tuple[str, ...] = ()
    group: str | None = None

    @property
    def channels(self) -> int:
        """Numbers per step."""
        return self.values.shape[1]

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

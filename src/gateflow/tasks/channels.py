"""How the channels of a series become what the layers read; the file ``channels.json`` of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateflow.data.series import Series
from gateflow.errors import DataError
from gateflow.runs.documents import read_document

__all__ = ["Channels", "Scale", "read_channels"]

MOST_BYTES = 1 << 24

Scale = Literal["channel", "all", "series", "none"]
Numbers = NDArray[np.float32]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Channels(BaseModel):
    """What is read of each step of a series.

    ``(x - mean) / deviation`` of each channel. A missing value is 0, which is the mean; with `mask` each channel has
    another one, 1 where its value is there.

    Attributes:
        names: of the channels; none where files only count them.
        count: how many there are.
        scale: whose mean and deviation: of each ``channel`` in the training part; of ``all`` channels together; of each
            channel in the ``series`` itself; or ``none``, the values as they are.
        means, deviations: of the training part, one a channel; zeros and ones where `scale` asks for none.
        mask: whether a channel that says which values are there follows.
        leaves_missing: whether missing values stay NaN, for a cell that reads them.
        empty: numbers of the channels that have no value in training: they are missing whatever they hold later.
        unit: the median time from step to step in training, in which times are given to the cell, seconds of dates;
            None where the cell is told none, or the training had none.
        dates: whether these times are dates.
        steps: how many each series has, where another number would mean another order of them: pixels in a random one.

    Example:
        >>> channels = Channels.of([Series(np.array([[1.0], [3.0]], np.float32), "one")], scale="channel")
        >>> channels.read(Series(np.array([[4.0], [np.nan]], np.float32), "two")).tolist()
        [[2.0], [0.0]]
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    names: tuple[str, ...] = ()
    count: int = Field(ge=1, le=1 << 20)
    scale: Scale = "channel"
    means: tuple[Finite, ...]
    deviations: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
    mask: bool = False
    leaves_missing: bool = False
    empty: tuple[Annotated[int, Field(ge=0)], ...] = ()
    unit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    dates: bool = False
    steps: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Channels:
        if not len(self.means) == len(self.deviations) == self.count or len(self.names) not in (0, self.count):
            raise ValueError("it has other means than channels")
        if self.empty and max(self.empty) >= self.count:
            raise ValueError("it has no such channel")
        return self

    @classmethod
    def of(
        cls,
        train: Sequence[Series],
        scale: Scale,
        *,
        leaves_missing: bool = False,
        times: bool = False,
        in_random_order: bool = False,
    ) -> Channels:
        """Those of the series that are learnt from.

        Args:
            train: one or more, with the same channels.
            scale: see above.
            leaves_missing: see above.
            times: whether the cell is told them, if the series have some.
            in_random_order: whether the steps are pixels in one.
        """
        count, there = train[0].channels, train[0].times
        means, deviations = np.zeros(count), np.ones(count)
        filled = np.any([np.isfinite(each.values).any(0) for each in train], axis=0)
        if scale in ("channel", "all"):
            # One after the other: all of them together in float64 would be many times what they are.
            known = np.maximum(_summed((np.isfinite(each.values) for each in train), count, scale), 1)
            means = _summed((each.values for each in train), count, scale) / known
            squares = _summed(((each.values - means) ** 2 for each in train), count, scale)
            deviations = _safe(np.sqrt(squares / known), means)
        return cls(
            names=train[0].channel_names,
            count=count,
            scale=scale,
            means=tuple(means.tolist()),
            deviations=tuple(deviations.tolist()),
            mask=not leaves_missing and any(bool(np.isnan(each.values).any()) for each in train),
            leaves_missing=leaves_missing,
            empty=tuple(np.flatnonzero(~filled).tolist()),
            unit=_typical(train) if times and there is not None else None,
            dates=there is not None and there.dtype.kind == "M",
            steps=len(train[0]) if in_random_order else None,
        )

    @property
    def width(self) -> int:
        """Numbers that the layers read of a step."""
        return self.count * (2 if self.mask else 1)

    @property
    def hides_missing(self) -> bool:
        """Whether the layers cannot see that a value is missing."""
        return not (self.mask or self.leaves_missing)

    def read(self, series: Series) -> Numbers:
        """What the layers read, ``[T, width]``.

        Raises:
            DataError: a value is so far from those of the training that float32 cannot tell how far.
        """
        values = series.values
        if self.empty:
            values = values.copy()
            values[:, list(self.empty)] = np.nan
        known = np.isfinite(values)
        if self.scale == "series":
            count = np.maximum(known.sum(0), 1)
            means = np.nansum(values, axis=0, dtype=np.float64) / count
            squares = np.nansum((values - means) ** 2, axis=0, dtype=np.float64)
            deviations = _safe(np.sqrt(squares / count), means)
        else:
            means, deviations = np.array(self.means), np.array(self.deviations)
        with np.errstate(over="ignore"):  # told below, in words
            scaled = ((values - means) / deviations).astype(np.float32)
        if (beyond := known & ~np.isfinite(scaled)).any():
            step, channel = np.argwhere(beyond)[0]
            raise DataError(
                f"{series.place}: the value {values[step, channel]:.6g} of step {step + 1}, channel {channel + 1} is "
                "too far from all that was learnt from. Write NaN where there is no value."
            )
        if self.leaves_missing:
            return scaled
        scaled[~known] = 0
        return np.concatenate([scaled, known.astype(np.float32)], axis=1) if self.mask else scaled

    def elapsed(self, series: Series) -> Numbers | None:
        """The time from the step before to each step, in `unit`; 1 for the first. None where the cell is told none."""
        if self.unit is None:
            return None
        assert series.times is not None, "refused by `fitting`"
        found = np.ones(len(series), dtype=np.float32)
        found[1:] = _seconds(series.times) / self.unit
        return found

    def fitting(self, series: Series, where: str) -> Series:
        """The series with the channels of the training in their order.

        Raises:
            DataError: it has others, or as many of other names; or it has no times, or others, where the cell reads
                times.
        """
        if series.channels != self.count:
            raise DataError(
                f"{where}: {series.channels} channels, and what was learnt from had {self.count}. Give it the "
                "same ones."
            )
        if self.steps not in (None, len(series)):
            raise DataError(
                f"{where}: {len(series)} pixels, and those of the training were {self.steps}: in a random order others "
                "have no place. Give images of the same size."
            )
        if self.unit is not None:
            self._refuse_other_times(series, where)
        if not self.names or not series.channel_names or series.channel_names == self.names:
            return series
        if missing := [name for name in self.names if name not in series.channel_names]:
            raise DataError(
                f"{where} has no channel {missing[0]!r:.40}, which is read; it has "
                f"{', '.join(series.channel_names):.120}."
            )
        order = [series.channel_names.index(name) for name in self.names]
        return series.with_values(series.values[:, order], self.names)

    def _refuse_other_times(self, series: Series, where: str) -> None:
        wanted = "dates" if self.dates else "numbers"
        if series.times is None:
            raise DataError(f"{where} has no times, and the cell was trained with {wanted}. Give them.")
        if (series.times.dtype.kind == "M") != self.dates:
            raise DataError(f"{where}: its times are not {wanted}, as those of the training are. Write them alike.")


def read_channels(file: Path, remedy: str) -> Channels:
    """The channels in a file.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    return read_document(Channels, file, MOST_BYTES, "holds no channels", remedy)


def _summed(parts: Iterable[NDArray[Any]], count: int, scale: Scale) -> NDArray[np.float64]:
    """The sum over all steps where there is a value, channel by channel, or for each that of all."""
    found = np.zeros(count)
    for part in parts:
        found += np.nansum(part, axis=0, dtype=np.float64)
    return np.full(count, found.sum()) if scale == "all" else found


def _safe(deviations: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """A channel that never changes, but for the rounding of float32, is divided by no zero."""
    return np.where(deviations > 1e-6 * np.abs(means), deviations, 1.0)


def _seconds(times: NDArray[np.generic]) -> NDArray[np.float64]:
    """From step to step; of dates in seconds."""
    differences = np.diff(times)
    return differences / np.timedelta64(1, "s") if times.dtype.kind == "M" else differences


def _typical(train: Sequence[Series]) -> float:
    """The median time from step to step; 1 where there are no times, or none passes."""
    found = [_seconds(each.times) for each in train if each.times is not None and len(each) > 1]
    passed = np.concatenate(found) if found else np.zeros(0)
    passed = passed[passed > 0]
    return float(np.median(passed)) if len(passed) else 1.0

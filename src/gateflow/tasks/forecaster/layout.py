"""What a forecaster reads and what it forecasts, by name; the file ``layout.json`` of its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateflow.data.series import Series
from gateflow.data.series.spacing import Spacing
from gateflow.errors import DataError, among
from gateflow.runs.documents import read_document
from gateflow.tasks.forecaster.config import SeriesConfig

__all__ = ["Layout", "layout_of", "read_layout"]

MOST_BYTES = 1 << 20

Name = Annotated[str, Field(min_length=1)]


class Layout(BaseModel):
    """The roles of the channels.

    Attributes:
        targets: are forecast.
        past: are read, and known up to now.
        future: are read, and known as far ahead as forecasts go.
        dated: whether the calendar is read too.
        season, quantiles: as asked. Other ones in config.toml would fit the weights as well, and mean something else.
        spacing: how long a step is, and in what; None where steps are only counted, and in runs of before it was kept.
        means, deviations: of each channel of `past` and `future` in training; targets are scaled series by series.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    targets: tuple[Name, ...] = Field(min_length=1)
    past: tuple[Name, ...] = ()
    future: tuple[Name, ...] = ()
    dated: bool = False
    season: int = Field(ge=1)
    quantiles: tuple[float, ...] = Field(min_length=1)
    spacing: tuple[Annotated[float, Field(gt=0)], Literal["numbers", "microseconds", "months"]] | None = None
    means: tuple[float, ...] = ()
    deviations: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @model_validator(mode="after")
    def _has_scales(self) -> Layout:
        if not len(self.means) == len(self.deviations) in (0, len(self.past) + len(self.future)):
            raise ValueError("it has other means than channels")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """All that are read, in the order in which they are kept."""
        return (*self.targets, *self.past, *self.future)

    def refuse_other_spacing(self, spacing: Spacing | None, where: str) -> None:
        """Refuse steps of another length than those of the training: seasons and forecasts are counted in them.

        Raises:
            DataError: these are.
        """
        if self.spacing is None or spacing is None or spacing.alike(own := Spacing.of_length(*self.spacing)):
            return
        raise DataError(
            f"{where}: its steps are {in_words(spacing)} apart, and the forecaster was trained on steps of "
            f"{in_words(own)}. Give a value for each such step, left empty where none is known, or train a forecaster "
            "for this spacing."
        )


def layout_of(series: Series, config: SeriesConfig, file: str) -> Layout:
    """The roles of a file's channels, as the options say; what is not named is a target.

    Raises:
        DataError: a channel that is named is not there; there is no target; one has two roles.
    """
    names = names_of(series)
    targets, past, future = config.named()
    for name in (*past, *future, *targets):
        if name not in names:
            raise DataError(f"{file} has no channel {name!r:.40}; {among(name, names, what='it has'):.160}.")
        if (past + future + targets).count(name) > 1:
            raise DataError(f"the channel {name!r:.40} is named twice among target, past and future; take one.")
    targets = targets or tuple(name for name in names if name not in past + future)
    if not targets:
        raise DataError(f"{file} has no channel left to forecast: all are named as past or future.")
    dated = config.calendar and is_dated(series)
    return Layout(
        targets=targets, past=past, future=future, dated=dated, season=config.season, quantiles=config.levels()
    )


def in_words(spacing: Spacing) -> str:
    """How long a step is: ``1 hour``, or ``1 in numbers``, which are no dates."""
    return f"{spacing} (numbers)" if spacing.length[1] == "numbers" else str(spacing)


def with_spacing(layout: Layout, found: Sequence[tuple[Series, Spacing | None]], file: str) -> Layout:
    """The layout with the spacing of all series.

    Raises:
        DataError: two have different ones.
    """
    timed = [(series, spacing) for series, spacing in found if spacing is not None]
    if not timed:
        return layout
    first, own = timed[0]
    for series, spacing in timed:
        if not spacing.alike(own):
            raise DataError(
                f"{file}: steps are {in_words(own)} apart in {first.place}, and {in_words(spacing)} in {series.place}. "
                "Train a forecaster for each spacing, or give all series the same one."
            )
    return layout.model_copy(update={"spacing": own.length})


def names_of(series: Series) -> tuple[str, ...]:
    """What the channels are called, or their numbers from 1."""
    return series.channel_names or tuple(str(i + 1) for i in range(series.channels))


def is_dated(series: Series) -> bool:
    """Whether its times are dates."""
    return series.times is not None and series.times.dtype.kind == "M"


def chosen(series: Series, channels: Sequence[str], where: str) -> Series:
    """The series with these channels in this order.

    Raises:
        DataError: it lacks one.
    """
    names = names_of(series)
    if missing := [name for name in channels if name not in names]:
        raise DataError(
            f"{where} lacks the channel {missing[0]!r:.40}, which the forecaster reads; it has {', '.join(names):.120}."
        )
    values = series.values[:, [names.index(name) for name in channels]]
    return replace(series, values=values, label=None, step_labels=None, channel_names=tuple(channels))


def read_layout(file: Path, remedy: str) -> Layout:
    """The layout in a file.

    Raises:
        RunError: it is none; the message ends in the remedy.
    """
    return read_document(Layout, file, MOST_BYTES, "is no layout of a forecaster", remedy)

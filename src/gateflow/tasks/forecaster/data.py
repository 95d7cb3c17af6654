"""Setting up a forecaster's run: series are read once, spaced evenly, and kept with the point where training ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from gateflow.data.series import Series, read_series
from gateflow.data.series.packed import packed, unpacked
from gateflow.data.series.spacing import Spacing, evenly
from gateflow.data.source import spoken
from gateflow.errors import DataError, RunError
from gateflow.files import write
from gateflow.runs.new_run import new_run
from gateflow.tasks.forecaster.config import ForecasterConfig, SeriesConfig
from gateflow.tasks.forecaster.layout import Layout, chosen, layout_of, with_spacing
from gateflow.tasks.forecaster.loading import build_model, load_layout
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prepared import Prepared, prepared, refuse_too_large
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.training.start import begin_run

__all__ = ["Even", "begin", "made_even", "own_series", "prepared_for", "read_for", "set_up"]

Even = tuple[Series, Spacing | None]
"""A series whose steps are evenly spaced, and how far apart they are, if it has times."""


def set_up(
    path: Path, config: ForecasterConfig, *, force: bool = False, given: Sequence[Series] | None = None
) -> ForecasterRun:
    """A new run: the roles of the channels, the series, and a checkpoint of step 0.

    Args:
        path, config, force: as of every set-up.
        given: series that are in no file; the configuration then has a name for them.

    Raises:
        RunError: `path` is taken, or cannot be written.
        DataError: the file is missing or holds no series; a channel is not there; a series is too short to learn from,
            or has other steps than the first.
    """
    with new_run(ForecasterRun, path, config, force=force) as run:
        file = spoken(config.data.train)
        read = list(_read(config.data.train, config.data) if given is None else given)
        layout = layout_of(read[0], config.data, file)
        even = made_even(read, layout, file)
        layout, found = with_spacing(layout, even, file), [series for series, _ in even]
        ends = [_end_of_training(series, layout, config.data) for series in found]
        layout = _with_scales(layout, found, ends)
        write(run.layout_file, layout.model_dump_json(indent=1) + "\n")
        run.series_file.parent.mkdir()
        write(run.series_file, packed(found, ends))
        begin_run(run, config, lambda: begin(run, config))
    return ForecasterRun.open(path)


def begin(run: ForecasterRun, config: ForecasterConfig) -> ForecasterModel:
    """The network with its initial weights."""
    return build_model(config, load_layout(run))


def read_for(data: Path | Sequence[Even], config: SeriesConfig, layout: Layout, unseen: int = 0) -> list[Prepared]:
    """The series of another file, each scaled by all that is known of it, but for the last `unseen` steps.

    Args:
        data: the file, or what `made_even` gives.
        config, layout: of the run.
        unseen: steps.

    Raises:
        DataError: the file is missing, or lacks a channel that the run reads.
    """
    found = made_even(_read(data, config, layout.channels), layout, spoken(data)) if isinstance(data, Path) else data
    return [prepared_for(series, spacing, layout, config, unseen=unseen) for series, spacing in found]


def made_even(series: Iterable[Series], layout: Layout, file: str) -> list[Even]:
    """Series with the channels that are read, evenly spaced.

    Args:
        series: as they were read.
        layout: of the run.
        file: where they are from, for messages.

    Raises:
        DataError: one lacks a channel, is not evenly spaced, or has other steps than the training had.
    """
    return [_evenly(each, layout, file) for each in series]


def prepared_for(
    series: Series,
    spacing: Spacing | None,
    layout: Layout,
    config: SeriesConfig,
    seen: int | None = None,
    unseen: int = 0,
) -> Prepared:
    """A series as a run's network reads it; see `prepared`."""
    return prepared(series, spacing, layout, horizon=config.horizon, season=config.season, seen=seen, unseen=unseen)


def own_series(run: ForecasterRun, unseen: int = 0) -> list[Prepared]:
    """The series of a run, scaled by what training reads of them, but for the last `unseen` steps.

    Raises:
        RunError: the file is missing or damaged.
    """
    remedy = "set the run up again with `gateflow train forecaster --force`"
    layout, config = load_layout(run), run.config().data
    series, ends = _own(run.unharmed(run.series_file, remedy), layout, remedy)
    # They are evenly spaced already; of the kept times the spacing is found again.
    even = [_evenly(each, layout, str(run.series_file)) for each in series]
    return [prepared_for(*each, layout, config, seen, unseen) for each, seen in zip(even, ends, strict=True)]


def _read(path: Path, config: SeriesConfig, channels: Sequence[str] = ()) -> Iterable[Series]:
    return read_series(path, columns=config.columns(channels))


def _evenly(series: Series, layout: Layout, file: str) -> Even:
    """The channels that are read, evenly spaced."""
    where = f"{file}, {series.place}"
    even, spacing = evenly(chosen(series, layout.channels, where), where)
    layout.refuse_other_spacing(spacing, where)
    refuse_too_large(even.values, where)
    if layout.dated and spacing is None:
        raise DataError(f"{where}: the forecaster reads dates, and this series has fewer than two. Give its times too.")
    return even, spacing


def _end_of_training(series: Series, layout: Layout, config: SeriesConfig) -> int:
    """The step from which on is validated: the last share, at least as long as a forecast."""
    known = np.flatnonzero(np.isfinite(series.values[:, : len(layout.targets)]).any(axis=1))
    steps = int(known[-1]) + 1 if len(known) else 0
    end = steps - max(config.horizon, round(config.held_out * steps))
    place = f"{spoken(config.train)}, {series.place}"
    least = config.season + config.horizon + 1
    if end < least:
        raise DataError(
            f"{place}: {steps} steps with values, {steps - end} of them to validate on; what is left must hold a "
            f"season, a forecast and one more, {least}. Give longer series, or a shorter --horizon."
        )
    if known[0] >= end:
        raise DataError(
            f"{place}: all values are in the last {steps - end} steps, which are to validate on, and nothing is known "
            "of those to learn from. Leave out the steps before the first value."
        )
    return end


def _with_scales(layout: Layout, series: Sequence[Series], ends: Sequence[int]) -> Layout:
    """The layout with mean and deviation of each covariate in the steps of training."""
    others = np.concatenate([s.values[:end, len(layout.targets) :] for s, end in zip(series, ends, strict=True)])
    known = np.isfinite(others)
    count = np.maximum(known.sum(axis=0), 1)
    means = np.where(known, others, 0).sum(axis=0, dtype=np.float64) / count
    deviations = np.sqrt((np.where(known, others - means, 0) ** 2).sum(axis=0, dtype=np.float64) / count)
    # A channel that never changes says nothing, and is divided by no zero.
    deviations = np.where(deviations > 0, deviations, 1)
    return layout.model_copy(update={"means": tuple(means.tolist()), "deviations": tuple(deviations.tolist())})


def _own(file: Path, layout: Layout, remedy: str) -> tuple[list[Series], list[int]]:
    """The series as the set-up has written them; the file is sealed, and what does not fit is refused all the same."""
    try:
        series, ends = unpacked(file)
    except DataError as error:
        raise RunError(f"{str(error).removesuffix('.')}; {remedy}.") from None
    if any(each.channel_names != layout.channels for each in series):
        raise RunError(f"{file} is damaged: it has other channels than {layout.channels}; {remedy}.")
    if any(end == len(each) for end, each in zip(ends, series, strict=True)):
        raise RunError(f"{file} is damaged: nothing of a series is left to validate on; {remedy}.")
    return series, ends

"""The verb ``forecast``: what comes after the end of each series."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gateflow.errors import DataWarning
from gateflow.tasks.description import Given, Lines
from gateflow.tasks.forecaster.data import own_series, read_for
from gateflow.tasks.forecaster.layout import Layout
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import Prepared
from gateflow.tasks.forecaster.run import ForecasterRun

__all__ = ["called", "forecast_series", "labels_of_steps", "tell_unknown"]


def forecast_series(given: Given, data: Path | None) -> Lines:
    """The verb ``forecast``: a line for each step to come, with its quantiles.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, or lacks a channel that the run reads.
    """
    run: ForecasterRun = given.run
    layout, config = load_layout(run), run.config().data
    model = load_model(run, layout)
    series = own_series(run) if data is None else read_for(data, config, layout)
    tell_unknown(series, layout)
    return Lines(_lines(model, series, layout, config.levels()))


def tell_unknown(series: Sequence[Prepared], layout: Layout) -> None:
    """Warn of channels that should be known ahead, and are not for all steps that are forecast.

    Raises:
        DataWarning: there are some; one for each channel.
    """
    for channel, name in enumerate(layout.future, len(layout.past)):
        counts = [int(np.isnan(each.others[len(each) :, channel]).sum()) for each in series]
        if not (wrong := np.flatnonzero(counts)).size:
            continue
        first, more = int(wrong[0]), len(wrong) - 1
        of = f" of series {found}" if (found := called(series)[first]) else ""
        others = f", nor for all of {more:,} series more" if more else ""
        warnings.warn(
            f"{name} is not known for {counts[first]} of the {series[first].naive.shape[1]} steps ahead{of}{others}; "
            "it is read as missing. Give rows after the last value that hold it, with target and past channels empty.",
            DataWarning,
            stacklevel=3,
        )


def called(series: Sequence[Prepared]) -> list[str]:
    """The names of series; the number from 1 of each that has none, if there are several."""
    return [each.name or ("" if len(series) == 1 else str(number)) for number, each in enumerate(series, 1)]


def labels_of_steps(series: Prepared) -> list[str]:
    """What each step and each one to come is called: its time, or its number from 1."""
    if series.times is None:
        return [str(step + 1) for step in range(len(series) + series.naive.shape[1])]
    if series.times.dtype.kind != "M":
        # As many digits as float64 is sure of: no two steps are called alike.
        return [f"{moment:.15g}" for moment in series.times]
    fitting = [series.times.astype(kind) for kind in ("M8[D]", "M8[s]", "M8[us]")]
    times = next(found for found in fitting if (found == series.times).all())
    zone = "UTC" if series.utc and times.dtype != "M8[D]" else "naive"
    return np.datetime_as_string(times, timezone=zone).tolist()


def _lines(
    model: ForecasterModel, series: list[Prepared], layout: Layout, levels: tuple[float, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "\t".join(("series", "step", "target", *(f"q{level:g}" for level in levels))), {"quantiles": list(levels)}
    for name, each, quantiles in zip(called(series), series, forecasts(model, series), strict=True):
        labels = labels_of_steps(each)[len(each) :]
        for ahead, target in np.ndindex(quantiles.shape[1:3]):
            numbers = [float(f"{x:.7g}") for x in quantiles[0, ahead, target]]
            cells = (name, labels[ahead], layout.targets[target])
            data = dict(zip(("series", "step", "target"), cells, strict=True)) | {"forecast": numbers}
            yield "\t".join((*cells, *(f"{x:g}" if abs(x) < 1e6 else f"{x:.7g}" for x in numbers))), data

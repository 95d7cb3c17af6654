"""The verb ``evaluate``: a backtest from every step on, beside forecasts that need no training."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateflow.files import write
from gateflow.tasks.description import Given, Table, Tables
from gateflow.tasks.forecaster.data import Even, own_series, read_for
from gateflow.tasks.forecaster.forecasting import called, labels_of_steps
from gateflow.tasks.forecaster.layout import Layout
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import Prepared, to_come
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.tasks.forecaster.seasonal import carried_forward, naive
from gateflow.tasks.predictions import refuse_bad_output

__all__ = ["backtest", "came_after", "evaluate_run", "judged"]

# Steps ahead that a table has a row for; of more, so many that are evenly spread.
TOLD_STEPS = 12

Numbers = NDArray[np.float32]
Rule = Callable[[Prepared], Numbers]


def backtest(
    model: ForecasterModel,
    series: Sequence[Prepared],
    ends: Sequence[int],
    measures: Measures,
    *,
    calibrated: bool = True,
) -> list[Numbers]:
    """Forecast each series from its step ``end - 1`` and from every later one but the last, and measure.

    Returns:
        The quantiles of each series, as `forecasts` gives them.
    """
    found = list(forecasts(model, series, [end - 1 for end in ends], calibrated=calibrated))
    for each, quantiles, end in zip(series, found, ends, strict=True):
        measures.add(quantiles, came_after(each, end), each.scale)
    return found


def evaluate_run(given: Given, data: Path | None, steps: int | None, predictions: Path | None) -> Tables:
    """The verb ``evaluate``: see `backtest`.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
        DataError: the file is missing, lacks a channel, or has series that are too short.
        ConfigError: the file for predictions is one with data, or a part of the run.
        WriteError: the file for predictions cannot be written.
    """
    run: ForecasterRun = given.run
    layout, config = load_layout(run), run.config().data
    model = load_model(run, layout)
    refuse_bad_output(predictions, run, {"--data": data})
    series, ends = judged(run, layout, data, steps)
    ours = Measures.empty(config.levels(), config.horizon)
    began = time.perf_counter()
    found = backtest(model, series, ends, ours)
    seconds = max(time.perf_counter() - began, 1e-9)
    if predictions is not None:
        write(predictions, _as_csv(series, ends, found, layout, config.levels()))
    others = {
        "seasonal naive" if config.season > 1 else "last value": _by_rule(series, ends, lambda each: each.naive, ours),
    }
    if config.season > 1:
        last = _by_rule(series, ends, lambda each: naive(carried_forward(each.targets, 1), 1, config.horizon), ours)
        others["last value"] = last
    # From the last step nothing is known of what comes.
    origins = sum(len(quantiles) - 1 for quantiles in found)
    return _told({run.path.resolve().name: ours, **others}, origins, len(series), origins / seconds)


def judged(
    run: ForecasterRun, layout: Layout, data: Path | Sequence[Even] | None, steps: int | None
) -> tuple[list[Prepared], list[int]]:
    """The series to be forecast, and of each the step from which on: of the run's own where training ends.

    What comes after that step decides nothing that a forecast reads, its scales neither.

    Raises:
        DataError: as `evaluate_run`.
    """
    config = run.config().data
    if data is None and steps is None:
        series = own_series(run)
        return series, [each.seen for each in series]
    unseen = config.horizon if steps is None else steps
    series = own_series(run, unseen) if data is None else read_for(data, config, layout, unseen)
    return series, [len(each) - unseen for each in series]


def came_after(series: Prepared, end: int) -> Numbers:
    """What comes after step ``end - 1`` and after each later one, ``[origins, horizon, N]``."""
    return to_come(series.targets[end - 1 :], series.naive.shape[1])


def _by_rule(series: Sequence[Prepared], ends: Sequence[int], rule: Rule, ours: Measures) -> Measures:
    """The same measures of forecasts ``[T, horizon, N]`` that a rule gives; they have no quantiles."""
    found = Measures.empty((0.5,), len(ours.counts))
    for each, end in zip(series, ends, strict=True):
        found.add(rule(each)[end - 1 :, ..., None], came_after(each, end), each.scale)
    return found


def _told(found: dict[str, Measures], origins: int, count: int, speed: float) -> Tables:
    figures = {name: measures.figures() for name, measures in found.items()}
    (own, ours), *_ = found.items()
    share = f"{100 * (ours.levels[-1] - ours.levels[0]):.0f}"
    rows = [
        (name, *(f"{each[key]:.4g}" for key in ("mae", "rmse", "mase")), *_of_quantiles(each, found[name]))
        for name, each in figures.items()
    ]
    header = ("forecast", "MAE", "RMSE", "MASE", "pinball", f"inside the {share} % interval")
    horizon = len(ours.counts)
    told = sorted({round(k) for k in np.linspace(1, horizon, min(TOLD_STEPS, horizon))})
    ahead = {name: measures.mase_ahead() for name, measures in found.items()}
    by_step = [(str(k), *(f"{each[k - 1]:.4g}" for each in ahead.values())) for k in told]
    lines = [
        f"{own}: MASE {figures[own]['mase']:.3f}, from {origins:,} steps of {count:,} series",
        f"{speed:,.0f} forecasts a second",
    ]
    tables = [
        Table(header, rows, title="all steps ahead"),
        Table(("steps ahead", *ahead), by_step, title="MASE by steps ahead"),
    ]
    return Tables(tables, {"forecasts": figures, "origins": origins, "series": count}, lines)


def _of_quantiles(figures: dict[str, float], measures: Measures) -> tuple[str, str]:
    if len(measures.levels) == 1:
        return "", ""
    return f"{figures['pinball']:.4g}", f"{100 * figures['coverage']:.1f} %"


def _as_csv(
    series: Sequence[Prepared], ends: Sequence[int], found: Iterable[Numbers], layout: Layout, levels: Sequence[float]
) -> str:
    """A row for each origin, step ahead and target: what was forecast, and what came."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(("series", "from", "step", "target", *(f"q{level:g}" for level in levels), "value"))
    for name, each, end, quantiles in zip(called(series), series, ends, found, strict=True):
        labels, values = labels_of_steps(each), came_after(each, end)
        for origin, ahead, target in np.ndindex(values.shape):
            if np.isfinite(value := values[origin, ahead, target]):
                at = end - 1 + origin
                numbers: list[Any] = [f"{x:.7g}" for x in (*quantiles[origin, ahead, target], value)]
                out.writerow((name, labels[at], labels[at + ahead + 1], layout.targets[target], *numbers))
    return text.getvalue()

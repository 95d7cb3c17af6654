"""Forecasting: the next values of series of numbers, with how sure they are. The description; torch stays out."""

from __future__ import annotations

from pathlib import Path

from gateflow.tasks.description import Option, TaskDescription, Verb

__all__ = ["FORECASTER"]

EVALUATE = Verb(
    "evaluate",
    """How good a forecaster is: from every step of the last part on, beside naive forecasts.

    Example: `gateflow evaluate runs/load --data newer.csv --steps 168 --predictions forecasts.csv`

    MASE below 1 is better than the seasonal naive forecast was in training.
    """,
    "gateflow.tasks.forecaster.evaluation:evaluate_run",
    (
        Option("data", Path, "Series with what came after; the run's own if left out."),
        Option("steps", int, "The last steps of each series that are forecast. [the horizon]", least=1),
        Option("predictions", Path, "Write all forecasts, and what came, to this file (CSV)."),
    ),
)

FORECAST = Verb(
    "forecast",
    """The next steps of each series, with quantiles: a middle forecast, and how far it may be off.

    Example: `gateflow forecast runs/load --data newer.csv`

    What is known ahead, such as holidays, stands in rows after the last value, with that value left empty.
    """,
    "gateflow.tasks.forecaster.forecasting:forecast_series",
    (Option("data", Path, "Series up to now; those of the training if left out."),),
)

FORECASTER = TaskDescription(
    name="forecaster",
    help="""Train a forecaster on series of numbers: what comes next, with quantiles.

    Example: `gateflow train forecaster --data load.csv --season 24 --horizon 24 --out runs/load`

    The last part of each series is held out and forecast. Ctrl-C saves; `gateflow resume` goes on.
    """,
    config="gateflow.tasks.forecaster.config:ForecasterConfig",
    run="gateflow.tasks.forecaster.run:ForecasterRun",
    inspect="gateflow.tasks.forecaster.inspection:InspectedForecaster",
    set_up="gateflow.tasks.forecaster.data:set_up",
    build="gateflow.tasks.forecaster.task:ForecasterTask",
    diagnose="gateflow.tasks.forecaster.diagnosis:diagnose_run",
    load="gateflow.tasks.forecaster.loading:load_network",
    verbs=(EVALUATE, FORECAST),
    next_steps=("evaluate {run}", "forecast {run}"),
    begin="gateflow.tasks.forecaster.data:begin",
    compared="gateflow.tasks.forecaster.diagnosis:compared",
    figure_names={"mase": "MASE"},
)

"""A forecaster that is trained once for all tests: two series, a target, a covariate known ahead, dates."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState

from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import set_up
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.tasks.forecaster.task import ForecasterTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

SEASON, HORIZON = 12, 6


@pytest.fixture(autouse=True)
def _fresh_accelerator():
    """Accelerate keeps its settings for the life of a process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def rows(seed: int, steps: int = 240) -> np.ndarray:
    """A season, noise that lasts, and a covariate that lifts the target; ``[steps, 2]``."""
    random = np.random.default_rng(seed)
    lifted = (random.random(steps) < 0.1).astype(float)
    noise = np.zeros(steps)
    for t in range(1, steps):
        noise[t] = 0.7 * noise[t - 1] + random.normal(0, 0.5)
    return np.stack(
        [50 * (1 + seed) + 10 * np.sin(2 * np.pi * np.arange(steps) / SEASON) + 8 * lifted + noise, lifted], 1
    )


def write(path: Path, series: dict[str, np.ndarray], start: str = "2026-01-01T00") -> Path:
    """A table in long form, hour by hour; NaN is left empty."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(("series", "time", "load", "holiday"))
        for name, values in series.items():
            for t, row in enumerate(values):
                moment = np.datetime64(start) + np.timedelta64(t, "h")
                out.writerow((name, str(moment), *("" if np.isnan(x) else f"{x:.6g}" for x in row)))
    return path


def train(
    path: Path, file: Path, data: dict | None = None, training: dict | None = None, callbacks=()
) -> ForecasterRun:
    """A run, trained to its end."""
    options = {"train": file, "season": SEASON, "horizon": HORIZON, "future": "holiday"} | (data or {})
    settings = {"epochs": 60, "window": 48, "batch_size": 8, "lr": 0.01, "warmup": 0} | (training or {})
    run = set_up(path, ForecasterConfig.build({"data": options, "model": {"hidden_size": 16}, "training": settings}))
    go_on(run, callbacks)
    return run


def go_on(run: ForecasterRun, callbacks=()) -> None:
    """Train from the last checkpoint on."""
    config = run.config()
    task = ForecasterTask(run, config)
    TrainingLoop(task, config.training, run, join_processes(config.training), callbacks=callbacks).train()


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("series") / "two.csv", {"a": rows(0), "b": rows(1, 200)})


@pytest.fixture(scope="session")
def trained(tmp_path_factory, table) -> ForecasterRun:
    return train(tmp_path_factory.mktemp("run") / "run", table)

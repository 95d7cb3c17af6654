"""A forecaster on series whose seasons are known, and on two real ones, beside naive forecasts and on torch's layers.

    python -m benchmarks.forecasting [--sets made,co2,elnino] [--layers gateflow,torch] [--seeds 0,1,2] [--json FILE]
    python -m benchmarks.forecasting --grid [--sets …]      validation alone: by it the options below were chosen

The last part of each series is the test. It is forecast from each of its steps, once, by what has learnt from the steps
before it; the last fifth of these is the validation, which chooses weights and options. Real series come with
statsmodels (``pip install statsmodels``). On torch's layers it is the same model from the same initial weights, see
`benchmarks.torch_layers`; its run is read by gateflow afterwards, whose layers give the same forecasts.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.torch_layers import on_torch
from gateflow.benchmarking.machine import machine
from gateflow.data.series import Series
from gateflow.tasks.description import Given
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.data import set_up
from gateflow.tasks.forecaster.evaluation import evaluate_run
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.tasks.forecaster.task import ForecasterTask
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

Options = Mapping[str, Any]
NONE: Options = MappingProxyType({})
FIGURES = ("mase", "coverage", "mae")
# Of every set: learning rates, dropouts.
RATES, DROPOUTS = (1e-3, 3e-3, 1e-2), (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class Setting:
    """A set of series and how it is forecast.

    Attributes:
        series: makes or reads them.
        test: their last steps, which nothing is chosen by.
        data, model, training: options that are not defaults.
    """

    series: Callable[[], list[Series]]
    test: int
    data: Options
    model: Options
    training: Options

    def config(self, seed: int, model: Options = NONE, training: Options = NONE) -> ForecasterConfig:
        """The configuration of one training, with some options changed."""
        sections = {
            "data": {"train": "series", **self.data},
            "model": {**self.model, **model},
            "training": {**self.training, **training, "seed": seed},
        }
        return ForecasterConfig.build(sections)


def made() -> list[Series]:
    """Two series of 1,500 hours: a pattern of the day, one of the week, and noise that lasts, of known spread."""
    random, hours = np.random.default_rng(0), np.arange(1_500)
    found = []
    for number in range(2):
        noise = np.zeros(len(hours))
        for t in hours[1:]:
            noise[t] = 0.6 * noise[t - 1] + random.normal()
        day, week = (random.uniform(3, 6) * np.sin(2 * np.pi * hours / n + random.uniform(0, 6)) for n in (24, 168))
        times = np.datetime64("2026-01-05T00", "us") + hours * np.timedelta64(1, "h")
        values = (50 * (number + 1) + day + week + noise).astype(np.float32)[:, None]
        found.append(Series(values, f"series {number}", times=times, name=str(number), channel_names=("load",)))
    return found


def co2() -> list[Series]:
    """Carbon dioxide over Mauna Loa, week by week, 1958 to 2001, 59 weeks missing (Keeling and Whorf 2004)."""
    frame = import_module("statsmodels.datasets.co2").load_pandas().data
    times = frame.index.to_numpy().astype("datetime64[us]")
    return [_one("co2", frame.to_numpy(), times)]


def elnino() -> list[Series]:
    """The temperature of the sea before Peru, month by month, 1950 to 2010 (NOAA)."""
    table = import_module("statsmodels.datasets.elnino").load_pandas().data.to_numpy()[:, 1:]
    months = np.datetime64("1950-01") + np.arange(table.size)
    return [_one("elnino", table.reshape(-1, 1), months.astype("datetime64[us]"))]


def _one(name: str, values: Any, times: Any) -> Series:
    return Series(values.astype(np.float32), name, times=times, name=name, channel_names=(name,))


# One series of a thousand steps or two: more passes in smaller batches.
LONGER: Options = {"epochs": 300, "patience": 60, "batch_size": 4}
SETS = {
    "made": Setting(made, 300, {"season": 24, "horizon": 24}, {}, {}),
    "co2": Setting(co2, 456, {"season": 52, "horizon": 26}, {}, LONGER),
    "elnino": Setting(elnino, 144, {"season": 12, "horizon": 12}, {}, LONGER),
}


def trained(folder: Path, setting: Setting, config: ForecasterConfig, layers: str) -> ForecasterRun:
    """A run that has learnt on these layers, from all but the test."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"train": folder / "train.csv"})})
    series = setting.series()
    write_table(config.data.train, series, leave_out=setting.test)
    write_table(folder / "whole.csv", series)
    run = set_up(folder / "run", config)
    task = ForecasterTask(run, config)
    if layers == "torch":
        task.model = on_torch(task.model)
    TrainingLoop(task, config.training, run, join_processes(config.training), callbacks=()).train()
    return run


def write_table(file: Path, series: Sequence[Series], leave_out: int = 0) -> None:
    """The series in long form, without their last steps."""
    rows = ["series,time,value"]
    for each in series:
        assert each.times is not None
        rows += [
            f"{each.name},{time},{value:.9g}"
            for time, (value,) in list(zip(each.times, each.values.tolist(), strict=True))[: len(each) - leave_out]
        ]
    file.write_text("\n".join([*rows, ""]))


def scores(name: str, config: ForecasterConfig, layers: str, *, test: bool) -> dict[str, dict[str, float]]:
    """Figures of a training, and of naive forecasts, on the validation or the test."""
    setting = SETS[name]
    with TemporaryDirectory() as folder:
        run = trained(Path(folder), setting, config, layers)
        data, steps = (Path(folder, "whole.csv"), setting.test) if test else (None, None)
        return evaluate_run(Given(run), data, steps, None).json["forecasts"]


def grid(names: Sequence[str], console: Console) -> None:
    """What the options bring on validation, means of seeds 0 and 1."""
    for name in names:
        table = Table("lr", "dropout", "MASE", "inside 80 %", title=name)
        for lr, dropout in itertools.product(RATES, DROPOUTS):
            configs = [SETS[name].config(seed, {"dropout": dropout}, {"lr": lr}) for seed in (0, 1)]
            found = [scores(name, config, "gateflow", test=False)["run"] for config in configs]
            mase, coverage = (fmean(each[key] for each in found) for key in ("mase", "coverage"))
            table.add_row(f"{lr:g}", f"{dropout:g}", f"{mase:.4f}", f"{coverage:.1%}")
        console.print(table)


def reached(names: Sequence[str], layers: Sequence[str], seeds: Sequence[int], console: Console) -> dict[str, Any]:
    """Figures on the test, of all seeds, beside naive forecasts."""
    found: dict[str, Any] = {}
    for name in names:
        table = Table(name, *FIGURES, box=None)
        for kind in layers:
            of_seeds = [scores(name, SETS[name].config(seed), kind, test=True) for seed in seeds]
            found[f"{name}, {kind}"] = of_seeds
            table.add_row(kind, *(_spread([each["run"][key] for each in of_seeds]) for key in FIGURES))
        for other in [key for key in of_seeds[0] if key != "run"]:
            table.add_row(other, *(f"{of_seeds[0][other][key]:.4g}" if key != "coverage" else "" for key in FIGURES))
        console.print(table, "")
    return found


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def main() -> None:
    """Train and print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--layers", type=lambda text: text.split(","), default=["gateflow", "torch"])
    parser.add_argument("--seeds", type=lambda text: [int(n) for n in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--grid", action="store_true", help="what options bring on validation; the test is left alone")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    asked = parser.parse_args()
    console = Console(highlight=False)
    if asked.grid:
        grid(asked.sets, console)
        return
    found = reached(asked.sets, asked.layers, asked.seeds, console)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(), "figures": found}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

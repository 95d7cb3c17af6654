"""Recurrent layers and a Transformer side by side: one budget, one grid, and what each costs as sequences grow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from torch import nn

from gateflow.cells import get
from gateflow.errors import ConfigError
from gateflow.remedies.initial_weights import parted
from gateflow.runs.config import RunConfig
from gateflow.runs.run import Run
from gateflow.runs.weights import load_weights, read_tensors
from gateflow.studies.budget import Better
from gateflow.studies.comparison import Comparison, Trained
from gateflow.studies.peak_memory import peak_of_training
from gateflow.tasks.description import Growth
from gateflow.tasks.network import EitherLayersConfig
from gateflow.training.start import begun_again

__all__ = ["TRANSFORMER", "Point", "Versus", "VersusResult", "Width"]

TRANSFORMER = "transformer"
# Updates of the training whose memory is measured: batches of several lengths come.
FOR_MEMORY = 30


class Point(NamedTuple):
    """Of the grid."""

    lr: float
    dropout: float


class Width(NamedTuple):
    """Of a Transformer, with the parameters of its whole network."""

    width: int
    parameters: int


class VersusResult(NamedTuple):
    """One side: what was chosen for it, how well each seed did, and what it costs.

    `parameters` are those of the whole network, `width` its hidden size, `minutes` those of its trainings, the grid's
    too; `peak_bytes` is None where it could not be measured, `growth` where a task tells of none.
    """

    side: str
    parameters: int
    width: int
    lr: float
    dropout: float
    updates: int
    targets_per_second: float
    target: str
    peak_bytes: int | None
    qualities: list[float]
    measure: str
    better: Better
    growth: Growth | None
    minutes: float

    def spread(self) -> tuple[float, float]:
        """Mean and standard deviation over the seeds; the deviation of one seed is 0."""
        finite = len(self.qualities) > 1 and all(map(math.isfinite, self.qualities))
        return fmean(self.qualities), stdev(self.qualities) if finite else 0.0


class _Training(NamedTuple):
    """How one training went, what its loss is counted by, and what was measured of its network if it was the best."""

    trained: Trained
    unit: str
    growth: Growth | None


@dataclass
class Versus(Comparison):
    """Cells and a Transformer on the task and the data of `options`.

    Each side is trained with every point of one grid, on the first seed; further seeds take the best point. Where the
    grid has a share of the budget, the best point is trained anew with all of it, the first seed too.

    Args:
        match: "parameters" gives the Transformer the width at which it has about as many as the first cell's network;
            "time" leaves both as wide as they are asked for, and the budget has to be minutes.
        lrs, dropouts: of the grid.
        grid_share: of the budget, for each point of the grid.

    Raises:
        ConfigError: the task has no Transformer, the budget is none of that match, or the share is none.
    """

    match: Literal["parameters", "time"] = "parameters"
    lrs: Sequence[float] = (1e-3, 3e-3, 1e-2)
    dropouts: Sequence[float] = (0.1, 0.3)
    grid_share: float = 1.0
    point: Point | None = field(default=None, init=False)
    width: int | None = field(default=None, init=False)
    # The next nearest, where parameters are matched: it tells how large a step of the width is.
    next_width: Width | None = field(default=None, init=False)

    @property
    def grid(self) -> list[Point]:
        """All its points."""
        return [Point(lr, dropout) for lr in self.lrs for dropout in self.dropouts]

    def sides(self, cells: Sequence[str]) -> Iterator[VersusResult]:
        """One result per side, as soon as it is done, the Transformer the last."""
        self.budget.check()
        if self.match == "time" and self.budget.minutes is None:
            raise ConfigError("--match time gives both sides one time, so that it takes --minutes and not --updates.")
        if not 0 <= self.grid_share <= 1:
            raise ConfigError(f"--grid-share {self.grid_share}: give a number from 0 to 1.")
        for cell in cells:
            get(parted(cell)[0])
        # As in a comparison of cells, what does not fit is found before the first side has been trained.
        for point in self.grid:
            self.at(TRANSFORMER, point, None, 1)
        self.point = None
        with TemporaryDirectory() as folder:
            data = self.task.part("set_up")(Path(folder, "data"), self.configure(cells[0]))
            if self.match == "parameters":
                wanted = _parameters(self.task.part("begin")(data, self.configure(cells[0])))
                nearest, self.next_width = self._matching_widths(data, wanted)
                self.width = nearest.width
            for side in (*cells[1:], TRANSFORMER):
                self.task.part("begin")(data, self.configure(side))
            for side in (*cells, TRANSFORMER):
                yield self.side(side, data)

    def side(self, side: str, data: Run[Any]) -> VersusResult:
        """The best point of the grid for one side, and its other seeds."""
        # An update of each side is timed at one point, not at the last one of the side before.
        self.point = None
        updates = self.budget.in_updates(lambda: self.seconds_of_one_update(side, data))
        first = self.configure(side).training.seed
        grid = self.grid
        tried: list[_Training] = []
        short = max(1, round(self.grid_share * updates))
        for point in grid:
            beaten = math.inf if short < updates else max(map(_rank, tried), default=-math.inf)
            tried.append(self.trained(side, point, first, short, data, beaten))
        best = max(range(len(grid)), key=lambda i: _rank(tried[i]))
        # What the grid has trained as long as all others need not be trained again.
        kept = [] if short < updates else [tried[best]]
        more = [
            self.trained(side, grid[best], first + k, updates, data, -math.inf if k == 0 else math.inf)
            for k in range(len(kept), self.seeds)
        ]
        runs, config = [*kept, *more], self.at(side, grid[best], first, updates)
        trained = [each.trained for each in runs]
        seconds = sum(each.outcome.seconds for each in trained)
        return VersusResult(
            side,
            _parameters(self.task.part("begin")(data, config)),
            _network(config).hidden_size,
            *grid[best],
            max(each.outcome.step for each in trained),
            sum(each.outcome.targets for each in trained) / max(1e-9, seconds),
            runs[0].unit,
            self.peak(side, grid[best], data),
            [each.quality for each in trained],
            self.measured(trained[0]),
            trained[0].better,
            runs[0].growth,
            sum(each.trained.outcome.seconds for each in (*tried, *more)) / 60,
        )

    def trained(self, side: str, point: Point, seed: int, updates: int, data: Run[Any], beaten: float) -> _Training:
        """One training, and what there is to say of it; its growth is measured where it ranks above `beaten`."""
        self.point = point
        with self.training(side, seed, updates, data, self.callbacks) as (run, loop):
            found = _Training(Trained.by(loop), loop.task.unit, None)
            if not self.task.growth or _rank(found) <= beaten:
                return found
            load_weights(loop.task.model, read_tensors(run.model_file)[0], run.model_file)
            return found._replace(growth=self.task.part("growth")(run, loop.task.model))

    def peak(self, side: str, point: Point, data: Run[Any]) -> int | None:
        """The memory that a training takes at its peak."""
        with TemporaryDirectory(dir=data.path.parent) as folder:
            config = self.at(side, point, None, FOR_MEMORY)
            run = begun_again(data, Path(folder, "run"), config, self.task.part("begin"))
            return peak_of_training(self.task.name, run.path)

    def at(self, side: str, point: Point, seed: int | None, updates: int) -> RunConfig:
        """The configuration of a side at a point of the grid."""
        self.point = point
        return self.configure(side, seed, updates)

    def configure(self, cell: str, seed: int | None = None, updates: int = 1) -> RunConfig:
        """As of a comparison; with the Transformer's layers for that side, and the point of the grid."""
        section = self.task.part("config").sections().get("model")
        if section is None or not issubclass(section, EitherLayersConfig):
            raise ConfigError(f"--task {self.task.name} has no Transformer to compare with.")
        point = self.point or Point(self.lrs[0], self.dropouts[0])
        network, training = dict(self.options.get("model", {})), dict(self.options.get("training", {}))
        network["dropout"], training["lr"] = point.dropout, point.lr
        if cell == TRANSFORMER:
            network["model"] = TRANSFORMER
            if self.width is not None:
                network["hidden_size"] = self.width
            elif self.match == "parameters":  # its width is yet to be found, and its heads need not divide the cells'
                network["hidden_size"] = 2 * network.get("heads", section.model_fields["heads"].get_default())
        plain = Comparison(self.task, {**self.options, "model": network, "training": training}, self.budget)
        return plain.configure("lstm" if cell == TRANSFORMER else cell, seed, updates)

    def _matching_widths(self, data: Run[Any], wanted: int) -> tuple[Width, Width]:
        """The widths at which a Transformer has just fewer and just more parameters than so many, the nearer first."""
        begin, step = self.task.part("begin"), 2 * _network(self.configure(TRANSFORMER)).heads

        def parameters(steps: int) -> int:
            self.width = steps * step
            return _parameters(begin(data, self.configure(TRANSFORMER)))

        low, high = 1, 2
        while parameters(high) < wanted:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if parameters(middle) < wanted else (low, middle)
        nearer, farther = sorted(
            (Width(steps * step, parameters(steps)) for steps in (low, high)),
            key=lambda found: abs(found.parameters - wanted),
        )
        return nearer, farther


def _network(config: RunConfig) -> Any:
    return config.model  # type: ignore[attr-defined]  # a task's own section


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _rank(found: _Training) -> float:
    """The larger the better; the least of all where a training broke."""
    quality = found.trained.quality
    if not math.isfinite(quality):
        return -math.inf
    return quality if found.trained.better == "larger" else -quality

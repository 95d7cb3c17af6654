"""`Forecaster`: the same training and the same forecasts as on the command line, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateflow.data.series import Series
from gateflow.errors import ConfigError, DataError
from gateflow.files import write
from gateflow.tasks.estimator import Estimator
from gateflow.tasks.forecaster import FORECASTER
from gateflow.tasks.forecaster.data import even_series, own_series, prepared_for
from gateflow.tasks.forecaster.evaluation import backtest, judged
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import Prepared
from gateflow.tasks.forecaster.streaming import Stream

__all__ = ["Forecaster"]

Given = str | Path | ArrayLike | Mapping[str, ArrayLike]
Numbers = NDArray[np.float32]


class Forecaster(Estimator):
    """Forecasts the next values of series of numbers, with quantiles.

    Series are a file as of ``--data``; an array ``[T]`` or ``[T, channels]``; a dictionary of such arrays by name; or
    one of pandas' data frames, whose index is taken for times if it holds some.

    Args:
        options: those of ``gateflow train forecaster --help``, with underscores: `horizon`, `season`, `quantiles`,
            `cell`, `hidden_size`, `epochs`, … A name that is none is refused here, a value when `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Raises:
        ConfigError: there is no such option.

    Example:
        >>> y = np.sin(np.arange(400) * 2 * np.pi / 20)
        >>> forecaster = Forecaster(horizon=5, season=20, hidden_size=8, window=40, epochs=2).fit(y)
        >>> forecaster.predict().shape, forecaster.predict_quantiles().shape
        ((5,), (5, 3))
        >>> bool(np.abs(forecaster.predict() - np.sin(np.arange(400, 405) * 2 * np.pi / 20)).max() < 0.1)
        True
    """

    description: ClassVar = FORECASTER

    def fit(self, y: Given, *, force: bool = False) -> Self:
        """Learn from series; the weights that forecast their last parts best are kept.

        Args:
            y: the series.
            force: replace the run that is at `out`.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        with TemporaryDirectory() as folder:
            run = self._set_up({"train": _file(y, Path(folder))}, force=force)
        self._train(run)
        return self

    def predict(self, y: Given | None = None) -> Any:
        """The median forecast, ``[horizon]``, or ``[horizon, targets]`` of several targets; by name of several series.

        Args:
            y: the series up to now; those of the training if not given.
        """
        middle = self._config.levels().index(0.5)
        return self._by_name(y, lambda quantiles: quantiles[..., middle])

    def predict_quantiles(self, y: Given | None = None) -> Any:
        """All quantiles, ``[horizon, Q]`` or ``[horizon, targets, Q]``; likewise."""
        return self._by_name(y, lambda quantiles: quantiles)

    def backtest(self, y: Given | None = None, steps: int | None = None) -> dict[str, float]:
        """How good forecasts are from every step of the last part on: MAE, RMSE, MASE, coverage and pinball loss.

        Args:
            y: the series; those of the training, and what was held out of them, if not given.
            steps: the last steps that are forecast; without it what was held out, or of other series the horizon.
        """
        if steps is not None and steps < 1:
            raise ConfigError(f"steps={steps}: the last steps that are forecast are 1 or more.")
        config = self._config
        with TemporaryDirectory() as folder:
            file = None if y is None else _file(y, Path(folder))
            series, ends = judged(self._run, self.layout_, file, steps)
        found = Measures.empty(config.levels(), config.horizon)
        backtest(self.model_, series, ends, found)
        return found.figures()

    def stream(self, history: Given) -> Stream:
        """The state after one series; `Stream.update` tells it the next value and gives the new forecast.

        Example:
            >>> y = np.sin(np.arange(300) * 2 * np.pi / 20)
            >>> forecaster = Forecaster(horizon=5, season=20, hidden_size=8, window=40, epochs=1).fit(y)
            >>> stream = forecaster.stream(y)
            >>> stream.update([0.0]).shape
            (5, 1, 3)

        Raises:
            DataError: there are several series.
        """
        run, config = self._run, self._config
        with TemporaryDirectory() as folder:
            found = even_series(_file(history, Path(folder)), config, self.layout_)
        if len(found) != 1:
            raise DataError(f"a stream goes on from one series, and {len(found)} were given.")
        (series, spacing), season = found[0], run.config().data.season
        return Stream(self.model_, self.layout_, self._prepare(series, spacing), spacing, season)

    @property
    def _config(self) -> Any:
        return self._run.config().data

    def _prepare(self, series: Series, spacing: Any) -> Prepared:
        return prepared_for(series, spacing, self.layout_, self._config)

    def _prepared(self, y: Given | None) -> list[Prepared]:
        if y is None:
            return own_series(self._run)
        with TemporaryDirectory() as folder:
            found = even_series(_file(y, Path(folder)), self._config, self.layout_)
        return [self._prepare(series, spacing) for series, spacing in found]

    def _by_name(self, y: Given | None, part: Any) -> Any:
        series = self._prepared(y)
        found = {}
        for number, (each, quantiles) in enumerate(zip(series, forecasts(self.model_, series), strict=True), 1):
            taken = part(quantiles[0])
            found[each.name or str(number)] = taken[:, 0] if len(self.layout_.targets) == 1 else taken
        return next(iter(found.values())) if len(found) == 1 else found

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.run_, self.layout_ = run, load_layout(run)
        self.model_ = load_model(run, self.layout_)


def _file(given: Given, folder: Path) -> Path:
    """The series as a file that `gateflow.data.series` reads."""
    if isinstance(given, str | Path):
        return Path(given)
    if hasattr(given, "to_csv"):
        # A table of pandas; an index that only counts its rows is no time.
        counted = type(given.index).__name__ == "RangeIndex"  # type: ignore[union-attr]
        given.to_csv(folder / "series.csv", index=not counted, index_label="time")  # type: ignore[union-attr]
        return folder / "series.csv"
    arrays = {str(name): array for name, array in given.items()} if isinstance(given, Mapping) else {"": given}
    if isinstance(given, Mapping):
        _refuse_names([str(name) for name in given])
    rows = {name: _matrix(array) for name, array in arrays.items()}
    if len({array.shape[1] for array in rows.values()}) > 1:
        raise DataError("the series have different numbers of channels; give each the same.")
    write(folder / "series.csv", _as_csv(rows))
    return folder / "series.csv"


def _refuse_names(names: list[str]) -> None:
    """Names that a table could not tell apart would make one series of two."""
    if not names:
        raise DataError("no series was given; give at least one.")
    for name in names:
        if names.count(name) > 1 or not name or name != name.strip() or any(mark in name for mark in "\r\n"):
            raise DataError(
                f"{name!r:.60} is no name of a series: names differ, and are one line without spaces around."
            )


def _matrix(given: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(given)
    try:
        found = array.astype(np.float64, casting="same_kind" if array.dtype.kind == "c" else "unsafe")
    except (TypeError, ValueError) as error:
        raise DataError(f"a series is an array of numbers, and one is not ({error!s:.80}).") from None
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise DataError(
            f"a series is an array [steps] or [steps, channels], and one has the shape {list(found.shape)}."
        )
    return found


def _as_csv(series: Mapping[str, NDArray[np.float64]]) -> str:
    channels = next(iter(series.values())).shape[1]
    rows = [",".join(["series", *(str(i + 1) for i in range(channels))])]
    for name, values in series.items():
        quoted = '"' + str(name).replace('"', '""') + '"'
        # With all digits of float64; `repr` of Python's own numbers has no more than are needed.
        rows += [",".join([quoted, *map(repr, row)]) for row in values.tolist()]
    return "\n".join([*rows, ""])

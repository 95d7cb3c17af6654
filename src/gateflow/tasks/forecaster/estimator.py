"""`Forecaster`: the same training and the same forecasts as on the command line, from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gateflow.errors import ConfigError, DataError
from gateflow.tasks.estimator import Estimator
from gateflow.tasks.forecaster import FORECASTER
from gateflow.tasks.forecaster.config import SeriesConfig
from gateflow.tasks.forecaster.data import Even, made_even, own_series, read_for
from gateflow.tasks.forecaster.evaluation import backtest, judged
from gateflow.tasks.forecaster.forecasting import called, tell_unknown
from gateflow.tasks.forecaster.given import Given, series_of
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.measures import Measures
from gateflow.tasks.forecaster.prediction import forecasts
from gateflow.tasks.forecaster.prepared import Prepared
from gateflow.tasks.forecaster.streaming import Stream

__all__ = ["Forecaster"]

Numbers = NDArray[np.float32]


class Forecaster(Estimator):
    """Forecasts the next values of series of numbers, with quantiles.

    Series are a file as of ``--data``; an array ``[T]`` or ``[T, channels]``; one of pandas' series or data frames,
    whose index is the times, and of a MultiIndex the levels before the last one the series, or which has columns for
    both; or a dictionary of these by name.

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
        # What was given has no file; in config.toml and in messages it is called as here.
        file = isinstance(y, str | Path)
        names = ("series", "time", "target", "past", "future")
        with self.in_words_of_python():
            # What is no text is refused by the set-up.
            texts = {name: vars(self)[name] for name in names if isinstance(vars(self)[name], str)}
            columns = SeriesConfig(train=Path("y"), **texts).columns()
            given = None if file else series_of(y, "y", columns)
        self._train(self._set_up({"train": Path(y) if file else Path("y")}, force=force, given=given))
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
        with self.in_words_of_python():
            series, ends = judged(self._run, self.layout_, None if y is None else self._even(y, "y"), steps)
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
        found = self._even(history, "history")
        if len(found) != 1:
            raise DataError(f"a stream goes on from one series, and history holds {len(found)}; make a stream of each.")
        (prepared,) = read_for(found, self._config, self.layout_)
        return Stream(self.model_, self.layout_, prepared, found[0][1], self.layout_.season)

    @property
    def _config(self) -> Any:
        return self._run.config().data

    def _even(self, given: Given, called: str) -> list[Even]:
        config = self._config
        with self.in_words_of_python():
            found = series_of(given, called, config.columns(self.layout_.channels))
        # Of an array nothing tells channels apart but their number; with a target some may have been left unread.
        counted = all(name.isdecimal() for name in found[0].channel_names)
        if counted and not config.target and found[0].channels > (wanted := len(self.layout_.channels)):
            raise DataError(f"{called} has {found[0].channels} channels, and the forecaster was trained on {wanted}.")
        return made_even(found, self.layout_, str(given) if isinstance(given, str | Path) else called)

    def _prepared(self, y: Given | None) -> list[Prepared]:
        if y is None:
            return own_series(self._run)
        return read_for(self._even(y, "y"), self._config, self.layout_)

    def _by_name(self, y: Given | None, part: Any) -> Any:
        series = self._prepared(y)
        tell_unknown(series, self.layout_)
        found = {}
        for name, quantiles in zip(called(series), forecasts(self.model_, series), strict=True):
            taken = part(quantiles[0])
            found[name] = taken[:, 0] if len(self.layout_.targets) == 1 else taken
        return next(iter(found.values())) if len(found) == 1 else found

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.run_, self.layout_ = run, load_layout(run)
        self.model_ = load_model(run, self.layout_)

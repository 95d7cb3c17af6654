"""Folds: one training that is several runs, each tested on a part of the examples that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.evaluation import evaluate
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.classifier.measures import Measures
from gateflow.tasks.classifier.regression import NumberMeasures
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.description import Table

__all__ = ["series", "summary"]

# Figures that are no shares of something.
UNITS = frozenset({"MAE", "RMSE", "R²"})


def series(path: Path, config: ClassifierConfig) -> list[tuple[Path, ClassifierConfig]]:
    """The places and configurations of all folds; nothing where there are none, or one of them is asked for.

    Example:
        >>> config = ClassifierConfig.build({"data": {"train": "films.tsv", "folds": 2}})
        >>> [(place.as_posix(), fold.data.fold) for place, fold in series(Path("runs/films"), config)]
        [('runs/films/fold-1', 1), ('runs/films/fold-2', 2)]
    """
    folds = config.data.folds
    if folds is None or config.data.fold is not None:
        return []
    # What is found by looking stands in each run, so that the same training typed again is known as that.
    config, width = config.found(), len(str(folds))
    return [
        (
            path / f"fold-{k:0{width}}",
            config.model_copy(update={"data": config.data.model_copy(update={"fold": k})}),
        )
        for k in range(1, folds + 1)
    ]


def summary(runs: Sequence[ClassifierRun]) -> Table:
    """How each fold's run does on its fold, and mean and deviation over all of them."""
    figures = {run.path.name: _figures(_measured(run)) for run in runs}
    columns = list(next(iter(figures.values())))
    of_columns = {column: [row[column] for row in figures.values()] for column in columns}
    rows = [(name, *(_told(column, row[column]) for column in columns)) for name, row in figures.items()]
    # The deviation of single folds, with n - 1; that of their mean is smaller, and unknown: folds share their examples.
    rows.append(("mean", *(f"{_told(name, fmean(x))} ± {_told(name, stdev(x))}" for name, x in of_columns.items())))
    means = {column: {"mean": fmean(x), "deviation": stdev(x)} for column, x in of_columns.items()}
    named = (column if column in UNITS else f"{column} %" for column in columns)
    return Table(("run", *named), rows, json={"folds": figures, "all": means})


def _figures(measures: Measures | NumberMeasures) -> dict[str, float]:
    if isinstance(measures, NumberMeasures):
        return {"MAE": measures.mae, "RMSE": measures.rmse, "R²": measures.r2}
    several = measures.multi_label
    return {
        "micro F1" if several else "accuracy": measures.micro().f1 if several else measures.accuracy,
        "macro F1": measures.macro().f1,
        "AUROC": measures.auroc,
        "calibration error": measures.calibration_error,
    }


def _told(column: str, value: float) -> str:
    """A share in percent; others in their own units."""
    return f"{value:.4g}" if column in UNITS else f"{100 * value:.2f}"


def _measured(run: ClassifierRun) -> Measures | NumberMeasures:
    learnt = load(run)
    return evaluate(learnt, own_examples(run, learnt.targets, "test")).measures

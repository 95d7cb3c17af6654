"""Folds: one training that is several runs, each tested on a part of the texts that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import own_texts
from gateflow.tasks.classifier.evaluation import evaluate
from gateflow.tasks.classifier.loading import load_labels, load_model, load_vocabulary
from gateflow.tasks.classifier.measures import Measures
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.description import Table

__all__ = ["series", "summary"]


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
    width = len(str(folds))
    return [
        (
            path / f"fold-{k:0{width}}",
            config.model_copy(update={"data": config.data.model_copy(update={"fold": k})}),
        )
        for k in range(1, folds + 1)
    ]


def summary(runs: Sequence[ClassifierRun]) -> Table:
    """How each fold's run does on its fold, and mean and deviation over all of them."""
    found = {run.path.name: _measured(run) for run in runs}
    several = next(iter(found.values())).multi_label
    figures = {
        name: {
            "micro F1" if several else "accuracy": measures.micro().f1 if several else measures.accuracy,
            "macro F1": measures.macro().f1,
            "AUROC": measures.auroc,
            "calibration error": measures.calibration_error,
        }
        for name, measures in found.items()
    }
    columns = list(next(iter(figures.values())))
    of_columns = {column: [row[column] for row in figures.values()] for column in columns}
    rows = [(name, *(f"{100 * row[column]:.2f}" for column in columns)) for name, row in figures.items()]
    # The deviation of single folds, with n - 1; that of their mean is smaller, and unknown: folds share their texts.
    rows.append(("mean", *(f"{100 * fmean(x):.2f} ± {100 * stdev(x):.2f}" for x in of_columns.values())))
    means = {column: {"mean": fmean(x), "deviation": stdev(x)} for column, x in of_columns.items()}
    return Table(("run", *(f"{column} %" for column in columns)), rows, json={"folds": figures, "all": means})


def _measured(run: ClassifierRun) -> Measures:
    labels, vocabulary = load_labels(run), load_vocabulary(run)
    model, longest = load_model(run, vocabulary, labels), run.config().data.longest
    return evaluate(model, vocabulary, labels, own_texts(run, labels, "test"), longest=longest).measures

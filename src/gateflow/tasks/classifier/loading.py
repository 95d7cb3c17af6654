"""From the folder of a classifier's run back to what it has learnt; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs import INPUTS
from gateflow.tasks.classifier.inputs.base import REMEDY, Encoder, Input
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Labels, Numbers, Targets, read_targets

__all__ = ["input_of", "load", "load_encoder", "load_network", "load_targets", "refuse_other_model"]


def load(run: ClassifierRun) -> Learnt:
    """The best model of a run so far, with all that goes with it.

    Raises:
        RunError: a file is missing, damaged, or not that of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config, encoder, targets = run.config(), load_encoder(run), load_targets(run)
    model = load_best(
        run,
        lambda: encoder.model(config, targets),
        lambda found, file: refuse_other_model(found, config, encoder, targets, file),
    )
    return Learnt(model, encoder, targets)


def input_of(config: ClassifierConfig) -> Input[Any]:
    """The kind of examples that a run has."""
    return INPUTS[config.kind]


def load_encoder(run: ClassifierRun) -> Encoder[Any]:
    """How a run reads examples.

    Raises:
        RunError: a file is missing, damaged, or none.
    """
    return input_of(run.config()).load(run)


def load_targets(run: ClassifierRun) -> Targets:
    """What a run is to find.

    Raises:
        RunError: the file is missing, damaged, or none.
    """
    config = run.config().data
    kind, file = (Numbers, run.numbers_file) if config.regression else (Labels, run.labels_file)
    found: Targets = read_targets(run.unharmed(file, REMEDY), kind, REMEDY)
    return found


def refuse_other_model(
    found: Specs, config: ClassifierConfig, encoder: Encoder[Any], targets: Targets, file: Path
) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"model": config.model.model_copy(update={"init": None})})
    refuse_other_network(found, config.model.layers, lambda: encoder.model(plain, targets), file)


def load_network(run: ClassifierRun) -> nn.Module:
    """The network of a run with its best weights, in eval mode, and nothing beside it.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
    """
    return load(run).model

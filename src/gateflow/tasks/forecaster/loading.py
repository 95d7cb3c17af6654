"""From the folder of a forecaster's run back to its layout and its model; what does not fit is refused first."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gateflow.errors import RunError
from gateflow.runs.best_model import load_best, refuse_other_network
from gateflow.runs.fit import Specs
from gateflow.tasks.forecaster.config import ForecasterConfig
from gateflow.tasks.forecaster.layout import Layout, read_layout
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prepared import ahead_width, read_width
from gateflow.tasks.forecaster.run import ForecasterRun

__all__ = ["build_model", "load_layout", "load_model", "load_network", "refuse_other_model"]


def build_model(config: ForecasterConfig, layout: Layout) -> ForecasterModel:
    """The network that `config` describes, with its initial weights."""
    model = ForecasterModel(
        read_width(layout),
        ahead_width(layout, config.data.season),
        targets=len(layout.targets),
        horizon=config.data.horizon,
        quantiles=config.data.levels(),
        **config.model.of_layers(),
    )
    return config.model.with_initial_weights(model)


def load_layout(run: ForecasterRun) -> Layout:
    """The layout of a run.

    Raises:
        RunError: it is missing, damaged, or none; or config.toml has another season or other quantiles.
    """
    remedy = "without it the weights mean nothing; restore it from a copy"
    layout, config = read_layout(run.unharmed(run.layout_file, remedy), remedy), run.config().data
    for name, asked, kept in (
        ("season", config.season, layout.season),
        ("quantiles", config.levels(), layout.quantiles),
    ):
        if asked != kept:
            raise RunError(
                f"{run.config_file} has {name} = {asked}, and the network was made for {kept}; write that there again, "
                "or train a new one."
            )
    return layout


def load_model(run: ForecasterRun, layout: Layout) -> ForecasterModel:
    """The best model of a run so far, in eval mode.

    Raises:
        RunError: weights are missing, damaged, or not those of the run's config.toml.
        NonFiniteError: a weight is NaN or infinite.
    """
    config = run.config()
    return load_best(
        run, lambda: build_model(config, layout), lambda found, file: refuse_other_model(found, config, layout, file)
    )


def refuse_other_model(found: Specs, config: ForecasterConfig, layout: Layout, file: Path) -> None:
    """Refuse weights that are not those of this network, by their header.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    # Initial weights are computed from numbers, which "meta" has none of.
    plain = config.model_copy(update={"model": config.model.model_copy(update={"init": None})})
    refuse_other_network(found, config.model.layers, lambda: build_model(plain, layout), file)


def load_network(run: ForecasterRun) -> nn.Module:
    """The network of a run with its best weights, in eval mode, and nothing beside it.

    Raises:
        RunError, NonFiniteError: the run's model cannot be used.
    """
    return load_model(run, load_layout(run))

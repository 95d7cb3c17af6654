"""The best weights of a run, back in its network; what does not fit config.toml is refused before it takes memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gateflow.errors import RunError
from gateflow.runs.fit import Specs, refuse_other_specs, specs_of
from gateflow.runs.lasting import MadeBy
from gateflow.runs.run import Run, resuming
from gateflow.runs.weights import load_weights, read_tensors, unique_tensors

__all__ = ["load_best", "refuse_other_network"]

Network = TypeVar("Network", bound=nn.Module)


def load_best(run: Run[Any], build: Callable[[], Network], refuse_others: Callable[[Specs, Path], None]) -> Network:
    """The network that `build` makes with the best weights so far, in eval mode.

    Args:
        run: whose model file is read.
        build: makes the network that config.toml asks for.
        refuse_others: raises where weights are not those of it, given their names, types and shapes, and the file.

    Raises:
        RunError: weights are missing, damaged, refused, or made by other options than config.toml has, or
            by other equations.
        NonFiniteError: a weight is NaN or infinite.
    """
    file = run.require(run.model_file, f"it appears with the first validation: {resuming(run.path)}")
    tensors, about = read_tensors(file, lambda header: refuse_others(header.tensors, file))
    made_by = MadeBy.read(about)
    made_by.refuse_other_options(run.config(), file, run.config_file)
    model = build()
    made_by.refuse_other_equations(model, file)
    load_weights(model, tensors, file)
    # Whoever loads a run reads with it; the loop sets the mode it needs.
    return model.eval()


def refuse_other_network(found: Specs, layers: int, build: Callable[[], nn.Module], file: Path) -> None:
    """Refuse weights that are not those of this network, by their header; the network is built without memory.

    Args:
        found: names, types and shapes of the weights.
        layers: how many layers config.toml asks for.
        build: makes the network, on torch's "meta" device.
        file: where the weights are, for the message.

    Raises:
        RunError: one is missing, unknown, of another type or of another shape.
    """
    if layers > len(found):  # not even to be built without memory: each layer takes its time
        raise RunError(
            f"{file} does not fit the run's config.toml: it holds {len(found)} tensors, and config.toml asks for "
            f"{layers} layers."
        )
    with torch.device("meta"):
        wanted = specs_of(unique_tensors(build()))
    refuse_other_specs(found, wanted, file)

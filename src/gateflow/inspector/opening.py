"""Which runs can be looked into: told by their config.toml, before a model, or what computes with it, is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateflow.errors import ConfigError
from gateflow.runs.run import Run
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks import open_run
from gateflow.tasks.description import TaskDescription
from gateflow.tasks.network import EitherLayersConfig

__all__ = ["no_state", "shown_run"]


def shown_run(path: Path, trust: Trust = NOBODY) -> tuple[Run[Any], TaskDescription]:
    """A run that can be shown, and its task.

    Raises:
        ConfigError: its task cannot be shown, or its network has no recurrent layers.
        RunError, TrustError: the run cannot be used.
    """
    run, task = open_run(path, trust)
    if not task.inspect:
        raise ConfigError(f"{path} is a run of the task {task.name}, which the inspector cannot show.")
    network = getattr(run.config(), "model", None)
    if isinstance(network, EitherLayersConfig) and network.is_transformer:
        raise no_state(path)
    return run, task


def no_state(path: Path) -> ConfigError:
    """What is said of a network without recurrent layers."""
    return ConfigError(
        f"{path} is a Transformer: it has no hidden state to look into. `gateflow diagnose` shows how far its gradient "
        "reaches."
    )

"""How a run is given its first checkpoint; and a second run on the data of the first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gateflow.runs.config import RunConfig
from gateflow.runs.lasting import MadeBy
from gateflow.runs.new_run import new_run
from gateflow.runs.run import Run
from gateflow.runs.trust import Trust
from gateflow.training.checkpoint import Checkpoint, Progress
from gateflow.training.optimizers import build_optimizer

__all__ = ["begin_run", "begun_again"]

AnyRun = TypeVar("AnyRun", bound=Run[Any])


def begin_run(run: Run[Any], config: RunConfig, begin: Callable[[], nn.Module]) -> None:
    """Give a run that is being set up its checkpoint of step 0, and seal what the set-up has made.

    Args:
        run: with all files of its own.
        config: with the seed and the optimizer.
        begin: builds the network with its initial weights.
    """
    # After the data are read: what is drawn there must not move the weights.
    torch.manual_seed(config.training.seed)
    model = begin()
    optimizer = build_optimizer(model, config.training)
    Checkpoint.of(model, optimizer, Progress(), made_by=MadeBy.of(config, model)).write(run.checkpoint_file)
    if run.own_files:
        # Last: whatever is sealed is whole.
        run.seal()


def begun_again(source: AnyRun, path: Path, config: RunConfig, begin: Callable[[Any, Any], nn.Module]) -> AnyRun:
    """A new run at step 0 with the data of another and a configuration of its own; nothing is read a second time.

    Args:
        source: a run as its set-up has left it; its own files are copied.
        path: where the new one appears.
        config: of the new one: another cell or seed, but with data that are read alike.
        begin: ``begin(run, config)``, as in a task's description.

    Raises:
        RunError: `path` is taken.
    """
    kind = type(source)
    with new_run(kind, path, config) as run:
        for name in source.own_files:
            if (source.path / name).is_file():
                (run.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path / name, run.path / name)
        begin_run(run, config, lambda: begin(run, config))
    # What a configuration in memory names was typed by whoever asks.
    return kind.open(path, Trust(everything=True))

"""A run in Python: the network with its best weights, and what was asked of it; and a copy that holds no data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateflow.errors import RunError
from gateflow.files import read_bounded, write
from gateflow.runs.config import RunConfig
from gateflow.runs.run import SUMS, Run
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks import open_run
from gateflow.tasks.description import TaskDescription

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Trained", "copy_into", "load", "save"]

# What a copy has of a run besides what its task's set-up made: no checkpoint, which is of use to a training alone.
_KEPT = ("config.toml", "model.safetensors")


@dataclass(frozen=True)
class Trained:
    """What `load` gives.

    Attributes:
        model: the network of the task, with the best weights so far, in eval mode.
        run: its folder, by the names of its files.
        description: what its task says of itself.
    """

    model: nn.Module
    run: Run[Any]
    description: TaskDescription

    @property
    def task(self) -> str:
        """The name of the task, as in ``gateflow train NAME``."""
        return self.description.name

    @property
    def config(self) -> RunConfig:
        """What was asked of the training."""
        return self.run.config()

    @property
    def figures(self) -> Mapping[str, Any]:
        """The record of the validation whose weights these are; empty for weights that were never validated."""
        return next(reversed(_up_to_the_best(self.run)), {})


def _up_to_the_best(run: Run[Any]) -> list[dict[str, Any]]:
    """The records of the validations up to that whose weights the run has; of a copy, which ends with it, all."""
    from gateflow.runs.weights import read_header
    from gateflow.training.metrics import MetricsLog

    known = [record for record in MetricsLog(run.metrics_file).read() if record.get("kind") == "valid"]
    if not run.checkpoint_file.is_file():
        return known
    # The checkpoint says what was the best, and not when: its loss tells the record from all others.
    progress = json.loads(read_header(run.checkpoint_file).metadata["gateflow"])["progress"]
    best = progress.get("best_loss")
    place = next((k for k, record in enumerate(known) if best is not None and record.get("loss") == best), -1)
    return known[: place + 1]


def load(path: str | Path, *, trust_code: bool = False) -> Trained:
    """The model of a run, ready for use, whatever its task.

    Args:
        path: folder of the run, as of ``gateflow train --out``.
        trust_code: whether the run may import a cell of its own, ``module:Class``.

    Raises:
        RunError: there is no run, or a file of it is missing or damaged.
        ConfigError: it names code, which is not trusted.
        NonFiniteError: a weight is NaN or infinite.

    Example:
        >>> trained = load("runs/mine")  # doctest: +SKIP
        >>> trained.task, trained.figures["perplexity"]  # doctest: +SKIP
        ('lm', 98.4)
    """
    run, description = open_run(Path(path), Trust(trust_code) if trust_code else NOBODY)
    return Trained(description.part("load")(run), run, description)


def save(trained: Trained | str | Path, path: str | Path, *, data: bool = False) -> Path:
    """Copy a run to where it may be given away: without its checkpoint, and without the data that it learnt from.

    The copy is a run, which `load` and all verbs but ``resume`` take; verbs that look at the validation data ask for
    others. Paths of data in its config.toml are names only.

    Args:
        trained: what `load` gave, or the folder of a run.
        path: of the copy; must not exist yet.
        data: whether the data that the run keeps go along.

    Raises:
        RunError: there is no run, it has no weights yet, or `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise RunError(f"{path} exists; choose another name, or remove it first.")
    copy_into(trained.run if isinstance(trained, Trained) else open_run(Path(trained))[0], path, data=data)
    return path


def copy_into(run: Run[Any], path: Path, *, data: bool) -> None:
    """What of a run is its model, and its data if so, into a folder.

    Raises:
        RunError: the run has no weights yet.
    """
    run.require(run.model_file, "it appears with the first validation")
    # What a task keeps of its data lies in folders of its own; what lies beside config.toml is part of the model.
    own = [name for name in run.own_files if (data or "/" not in name) and (run.path / name).is_file()]
    for name in (*_KEPT, *own):
        if (run.path / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.path / name, path / name)
    if (run.path / SUMS).is_file():
        write(path / SUMS, _sums_of(run.path / SUMS, own))
    write(path / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in _up_to_the_best(run)))
    if not data:
        write(path / "config.toml", _without_places(run.config()).to_toml())


def _sums_of(file: Path, names: list[str]) -> str:
    lines = read_bounded(file, 1 << 16).decode("ascii").splitlines(keepends=True)
    return "".join(line for line in lines if line.rstrip("\n").partition("  ")[2] in names)


def _without_places(config: RunConfig) -> RunConfig:
    """The configuration with names of files in place of their paths, which tell of a machine and its user."""
    changed = {}
    for name in config.sections():
        section = getattr(config, name)
        paths = {key: Path(value.name) for key, value in section if isinstance(value, Path)}
        changed[name] = section.model_copy(update=paths)
    return config.model_copy(update=changed)

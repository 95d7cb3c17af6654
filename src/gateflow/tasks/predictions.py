"""What is written beside a run's answers must never take the place of what they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateflow.errors import ConfigError
from gateflow.runs.run import CONTENT, Run

__all__ = ["refuse_to_replace"]


def refuse_to_replace(file: Path | None, run: Run[Any], data: Path | None, option: str = "--predictions") -> None:
    """Refuse a file of answers that is one of those that were read, or a part of the run.

    Args:
        file: where they are to be written, if they are.
        run: whose data and own files are kept.
        data: what is read now.
        option: that names the file.

    Raises:
        ConfigError: it is one of them.
    """
    if file is None:
        return
    place = file.resolve()
    read = {"--data": data, **{f"the run's {name}": path for name, path in dict(run.config().data).items()}}
    for name, path in read.items():
        if isinstance(path, Path) and path.resolve() == place:
            raise ConfigError(f"{option} {file} is the file of {name}, and would replace it; choose another name.")
    parts = {run.path.resolve() / part for part in (*CONTENT, *run.own_files)}
    if place in parts:
        raise ConfigError(f"{option} {file} is a part of the run, and would destroy it; choose another name.")

"""What is written beside a run's answers must never take the place of what they were made from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from gateflow.data.text import read_lines
from gateflow.errors import ConfigError, DataError
from gateflow.runs.run import CONTENT, Run

__all__ = ["refuse_to_replace"]


def refuse_to_replace(file: Path | None, run: Run[Any], data: Path | None, option: str = "--predictions") -> None:
    """Refuse a file of answers that is one of those that were read, or a part of the run.

    Args:
        file: where they are to be written, if they are.
        run: whose data and own files are kept.
        data: what is read now: a file, a folder, or a list of the files that are read.
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
        if isinstance(path, Path) and place.exists() and (_lies_in(path, place) or _is_listed(path, place)):
            raise ConfigError(f"{option} {file} is a file of {name} {path}, and would replace it; choose another name.")
    parts = {run.path.resolve() / part for part in (*CONTENT, *run.own_files)}
    if place in parts:
        raise ConfigError(f"{option} {file} is a part of the run, and would destroy it; choose another name.")


def _lies_in(folder: Path, place: Path) -> bool:
    return folder.is_dir() and folder.resolve() in place.parents


def _is_listed(path: Path, place: Path) -> bool:
    """Whether a line of a text names the file, as a list of recordings or pictures does, from where the list lies."""
    if not path.is_file():  # what is piped in can be read once
        return False
    with suppress(DataError):  # no text, so no list
        # By its name first: most files are no lists, and may be large.
        named = (line.split("\t") for line in read_lines(path) if place.name in line)
        return any((path.parent / cell.strip()).resolve() == place for cells in named for cell in cells if cell.strip())
    return False

"""What is written beside a run's answers can be written, and takes the place of nothing that they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateflow.data.text import read_lines
from gateflow.errors import ConfigError, DataError
from gateflow.files import refuse_unwritable
from gateflow.runs.run import CONTENT, Run

__all__ = ["refuse_bad_output"]


def refuse_bad_output(
    file: Path | None, run: Run[Any], read: Mapping[str, Path | None], option: str = "--predictions"
) -> None:
    """Refuse a file of answers that is one of those that were read, or a part of the run, or that cannot be written.

    Called before the work, which may take hours.

    Args:
        file: where they are to be written, if they are.
        run: whose data and own files are kept.
        read: what is read now, each by its option: a file, several with commas between them, a folder, or a list of
            the files that are read.
        option: that names the file.

    Raises:
        ConfigError: it is one of them.
        WriteError: there is no such folder, or nothing can be written there.
    """
    if file is None:
        return
    place = file.resolve()
    known = {**read, **{f"the run's {name}": path for name, path in dict(run.config().data).items()}}
    for name, path in known.items():
        if isinstance(path, Path) and any(_holds(each, place) for each in _files(path)):
            raise ConfigError(f"{option} {file} is a file of {name}, and would replace it; choose another name.")
    parts = {run.path.resolve() / part for part in (*CONTENT, *run.own_files)}
    if place in parts:
        raise ConfigError(f"{option} {file} is a part of the run, and would destroy it; choose another name.")
    refuse_unwritable(file)


def _files(path: Path) -> Iterator[Path]:
    """What an option may mean: a file, whose name may have a comma, or several, as ``train.ja,train.en``."""
    yield path
    if not path.exists():
        yield from (Path(name) for name in str(path).split(",") if name)


def _holds(path: Path, place: Path) -> bool:
    """Whether a path is a file, or the file lies in it, or it lists the file."""
    if path.resolve() == place:
        return True
    # What is not there yet has not been read.
    return place.exists() and ((path.is_dir() and path.resolve() in place.parents) or _is_listed(path, place))


def _is_listed(path: Path, place: Path) -> bool:
    """Whether a line of a text names the file, as a list of recordings or pictures does, from where the list lies."""
    if not path.is_file():  # what is piped in can be read once
        return False
    with suppress(DataError):  # no text, so no list
        # By its name first: most files are no lists, and may be large.
        named = (line.split("\t") for line in read_lines(path) if place.name in line)
        return any((path.parent / cell.strip()).resolve() == place for cells in named for cell in cells if cell.strip())
    return False

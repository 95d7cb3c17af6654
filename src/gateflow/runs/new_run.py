"""A new run is set up in a hidden folder next to its place and appears whole; what it replaces stays till then."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gateflow.errors import GateflowError, RunError
from gateflow.files import is_draft, refused, write
from gateflow.runs.config import RunConfig, read_toml
from gateflow.runs.run import Run

AnyRun = TypeVar("AnyRun", bound=Run[Any])


@contextmanager
def new_run(kind: type[AnyRun], path: Path, config: RunConfig, *, force: bool = False) -> Iterator[AnyRun]:
    """Set a run up in a hidden folder next to `path`; on leaving the block it appears there, whole.

    If the block fails, nothing appears, and a run that `force` was to replace stays.

    Args:
        kind: the task's class of runs.
        path: where it appears.
        config: what is asked, the content of its config.toml.
        force: replace a run of this task that is there.

    Raises:
        RunError: `path` exists and is not empty (without `force`), is no run, or is being trained.
    """
    # A name like "." has no parent to put the hidden folder into.
    path = path.resolve()
    refuse_what_is_there(kind, path, force)
    # Next to the place, since a renaming across file systems is a copy, which can be killed halfway.
    draft = kind(path.with_name(f".{path.name}.new"))
    _refuse_what_is_not_ours(draft.path, path)
    try:
        draft.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(path, error) from error
    # Two set-ups of one run would else clear each other's folder away.
    with draft.lock():
        try:
            _clear(draft)
            write(draft.config_file, config.to_toml())
            yield draft
            # Once more: the set-up has taken its time, and meanwhile somebody may have put something there.
            refuse_what_is_there(kind, path, force)
            _take_place(draft.path, path)
        except OSError as error:
            raise refused(path, error) from error
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)


def refuse_what_is_there(kind: type[Run[Any]], path: Path, force: bool) -> None:
    """Refuse a place that is taken; with `force` one that is a run of this task and of nothing else is free.

    Raises:
        RunError: it is taken.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise RunError(f"--out {path} is a file; choose another name.")
    if not force:
        raise RunError(f"--out {path} exists; go on with `gateflow resume {path}`, or replace it with --force.")
    if not _is_run(path):
        raise RunError(f"--force replaces runs only, and {path} is none; choose another --out, or delete it yourself.")
    # Somebody may keep notes next to the weights.
    strangers = [entry.name for entry in path.iterdir() if not _is_ours(entry.name, kind.content())]
    if strangers:
        raise RunError(f"--force would delete {path / strangers[0]}, which is no part of a run; move it away first.")
    with kind(path).lock():  # refused while another process trains it
        pass


def _refuse_what_is_not_ours(draft: Path, path: Path) -> None:
    """What a set-up that was killed has left is a folder of this user, empty or with a lock, and no link to one."""
    with suppress(FileNotFoundError):
        found = draft.lstat()
        # Whoever may write to the parent could put a folder of theirs, or a link to one of ours, under this name.
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or not ((draft / "lock").exists() or not any(draft.iterdir())):
            raise RunError(f"{draft} is in the way of setting {path} up, and no run of gateflow; move it away.")


def _is_run(path: Path) -> bool:
    """Whether it is a run, of whatever task. A site's config.toml may have a `format`, but no table `training` too."""
    try:
        run = Run.open(path)
        return bool(run.task()) and isinstance(read_toml(run.config_file).get("training"), dict)
    except GateflowError:
        return False


def _is_ours(name: str, content: Container[str]) -> bool:
    """Whether a run may hold what is so called, drafts of killed processes and of older versions included."""
    return is_draft(name) or name.removeprefix(".").removesuffix(".draft") in content


def _clear(draft: Run[Any]) -> None:
    """Remove what a set-up that was killed left behind; the lock is ours and stays."""
    for entry in draft.path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _take_place(draft: Path, path: Path) -> None:
    replaced = path.with_name(f".{path.name}.old")
    if _is_run(replaced):  # a process was killed between the two renamings below
        shutil.rmtree(replaced)
    if not path.exists():
        draft.rename(path)
        return
    # Two renamings, for a folder that is not empty cannot be replaced by one; killed in between, `.old` is the
    # whole run.
    path.rename(replaced)
    draft.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)

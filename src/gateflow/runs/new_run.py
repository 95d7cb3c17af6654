"""A new run is set up in a hidden folder next to its place and appears whole; what it replaces stays till then."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gateflow.errors import GateflowError, RunError
from gateflow.files import refused, write
from gateflow.runs.config import RunConfig, read_toml
from gateflow.runs.run import Run, being_replaced, being_set_up, is_free, put_back, resuming

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
    draft = kind(being_set_up(path))
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
            _take_place(draft, path)
        except OSError as error:
            raise refused(path, error) from error
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)


def refuse_what_is_there(kind: type[Run[Any]], path: Path, force: bool) -> None:
    """Refuse a place that is taken; with `force` one that is a run of this task and of nothing else is free.

    A run that was being replaced when a process was killed is put back first: it takes the place.

    Raises:
        RunError: it is taken.
        WriteError: no folder can be made there.
    """
    put_back(path)
    if is_free(path):
        _refuse_what_cannot_be_written(path)
        return
    if not path.is_dir():
        raise RunError(f"--out {path} is a file; choose another name.")
    if not force:
        raise RunError(f"--out {path} exists; go on with `{resuming(path)}`, or replace it with --force.")
    if not _is_run(path):
        raise RunError(f"--force replaces runs only, and {path} is none; choose another --out, or delete it yourself.")
    found, wanted = Run(path).task(), kind.kind.model_fields["task"].default
    if found != wanted:
        raise RunError(
            f"--force replaces runs of the same task: {path} is a run of the task {found!r:.80}, and this would be one "
            f"of the task {wanted!r}; choose another --out, or delete it yourself."
        )
    refuse_strangers(kind, path)
    if (left := being_replaced(path.resolve())).exists():
        refuse_strangers(kind, left)
    with kind(path).lock():  # refused while another process trains it
        pass


def _refuse_what_cannot_be_written(path: Path) -> None:
    # Told before a training, and not by the file system after it.
    parent = next(folder for folder in path.resolve().parents if folder.exists())
    if not parent.is_dir():
        raise refused(path, NotADirectoryError(errno.ENOTDIR, f"{parent} is no folder"))
    if not os.access(parent, os.W_OK | os.X_OK):
        raise refused(path, PermissionError(errno.EACCES, f"nothing may be written into {parent}"))


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


def refuse_strangers(kind: type[Run[Any]], path: Path) -> None:
    """Refuse to delete a run in which something lies that is no part of it, at whatever depth.

    Raises:
        RunError: there is something; the message names the first.
    """
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        # Somebody may keep notes next to the weights; a folder that is a link is somebody's, wherever it leads.
        links = [name for name in folders if (here / name).is_symlink()]
        own = here == path or here.relative_to(path).as_posix() in kind.folders()
        empty = not own and not folders and not files
        for entry in [*([here] if empty else []), *(here / name for name in sorted(files + links))]:
            if not kind.may_hold(entry.relative_to(path).as_posix()):
                raise RunError(f"--force would delete {entry}, which is no part of a run; move it away first.")


def _clear(draft: Run[Any]) -> None:
    """Remove what a set-up that was killed left behind; the lock is ours and stays."""
    for entry in draft.path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def _take_place(draft: Run[Any], path: Path) -> None:
    if is_free(path):
        draft.path.rename(path)
        return
    replaced = being_replaced(path)
    if replaced.exists():  # a process was killed while it removed what it had replaced
        refuse_strangers(type(draft), replaced)
        _remove(replaced)
    # Two renamings, for a folder that is not empty cannot be replaced by one; killed in between, `.old` is the
    # whole run, and `put_back` gives it its name back.
    path.rename(replaced)
    draft.path.rename(path)
    with suppress(OSError):
        _remove(replaced)


def _remove(run: Path) -> None:
    # First of all: what a killed process has half removed must not be taken for a run, and put back.
    (run / "config.toml").unlink(missing_ok=True)
    shutil.rmtree(run)

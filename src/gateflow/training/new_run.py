"""A new run is set up in a hidden folder beside its place and appears there whole; what it replaces stays till then."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gateflow.errors import GateflowError, RunError
from gateflow.files import is_draft, refused, write
from gateflow.training.config import RunConfig
from gateflow.training.runs import CONTENT, Run


@contextmanager
def new_run(path: Path, config: RunConfig, *, force: bool = False) -> Iterator[Run]:
    """Set a run up in a hidden folder beside `path`; on leaving the block it appears there, whole.

    If the block fails, nothing appears, and a run that `force` was to replace stays.

    Raises:
        RunError: `path` exists and is not empty (without `force`), is no run, or is being trained.
    """
    path = path.resolve()
    _refuse_what_is_there(path, force)
    draft = Run(path.with_name(f".{path.name}.new"))
    _refuse_what_is_not_ours(draft.path, path)
    try:
        draft.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(path, error) from error
    with draft.lock():
        try:
            _clear(draft)
            write(draft.config_file, config.to_toml())
            yield draft
            _refuse_what_is_there(path, force)
            _take_place(draft.path, path)
        except OSError as error:
            raise refused(path, error) from error
        finally:
            shutil.rmtree(draft.path, ignore_errors=True)


def _refuse_what_is_there(path: Path, force: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise RunError(f"--out {path} is a file; choose another name.")
    if not force:
        raise RunError(f"--out {path} exists; go on with `gateflow resume {path}`, or replace it with --force.")
    if not _is_run(path):
        raise RunError(f"--force replaces runs only, and {path} is none; choose another --out, or delete it yourself.")
    strangers = [entry.name for entry in path.iterdir() if not _is_ours(entry.name)]
    if strangers:
        raise RunError(f"--force would delete {path / strangers[0]}, which is no part of a run; move it away first.")
    with Run(path).lock():
        pass


def _refuse_what_is_not_ours(draft: Path, path: Path) -> None:
    """What a set-up that was killed has left is a folder of this user, empty or with a lock, and no link to one."""
    with suppress(FileNotFoundError):
        found = draft.lstat()
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or not ((draft / "lock").exists() or not any(draft.iterdir())):
            raise RunError(f"{draft} is in the way of setting {path} up, and no run of gateflow; move it away.")


def _is_run(path: Path) -> bool:
    try:
        return bool(RunConfig.read(Run.open(path).config_file))
    except GateflowError:
        return False


def _is_ours(name: str) -> bool:
    """Whether a run may hold what is so called, drafts of killed processes and of older versions included."""
    return is_draft(name) or name.removeprefix(".").removesuffix(".draft") in CONTENT


def _clear(draft: Run) -> None:
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
    path.rename(replaced)
    draft.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)

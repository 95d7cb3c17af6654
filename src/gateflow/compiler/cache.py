"""The cache of built kernels: what is found there is ours, whole, and was built once however many processes ask.

A kernel is three files, named by the hash of all that it depends on: ``KEY.so``, the source ``KEY.cpp`` beside it for
debuggers, and ``KEY.sha256``, by which a damaged library is known before it is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
import tempfile
import warnings
from atexit import register
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from gateflow.errors import BuildError, CacheWarning

__all__ = ["cache_directory", "cached", "check_owner"]

PATIENCE = 600
"""Seconds to wait for another process that builds the same kernel, before building it for this process alone."""

REMEDY = "To keep kernels, set GATEFLOW_CACHE to a directory of your own that can be written."


def cache_directory() -> Path:
    """Where built kernels are kept: ``$GATEFLOW_CACHE``, else ``gateflow`` in the user's cache directory.

    Example:
        >>> cache_directory().is_absolute()
        True
    """
    if own := os.environ.get("GATEFLOW_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "gateflow"


def cached(key: str, source: str, make: Callable[[Path, Path], None]) -> Path:
    """The library of this key, from the cache or made by ``make(source_file, library_file)``.

    Where the cache cannot be used (read-only, full, not ours) the kernel is made in a private temporary directory that
    lives as long as this process, with one warning.

    Raises:
        BuildError: ``make`` failed.
    """
    folder = cache_directory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(folder)
        return _found_or_made(folder, key, source, make)
    except (OSError, NotImplementedError) as problem:  # the latter: a file system without locks
        refused = _in_words(problem)
    try:
        return _found_or_made(_private(str(folder), refused), key, source, make)
    except OSError as problem:
        raise BuildError(
            f"a kernel can be built neither in {folder} ({refused}) "
            f"nor in a temporary directory ({_in_words(problem)})."
        ) from problem


def check_owner(path: Path) -> None:
    """Refuse a file or directory that somebody else could have filled with code of theirs.

    Raises:
        PermissionError: It belongs to another user, or others may write to it.
    """
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to user {found.st_uid}, not to user {os.getuid()} who runs this")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        right = "700" if path.is_dir() else "600"
        raise PermissionError(f"{path} can be written by other users (mend it by: chmod {right} {path})")


def _found_or_made(folder: Path, key: str, source: str, make: Callable[[Path, Path], None]) -> Path:
    library = folder / f"{key}.so"
    if _whole(library):
        return library
    with FileLock(folder / f"{key}.lock", timeout=PATIENCE, mode=0o600):
        if not _whole(library):  # else another process made it while we waited
            _make(library, source, make)
    return library


def _whole(library: Path) -> bool:
    """Whether the library is there, ours, and what was written."""
    try:
        check_owner(library)
        return _hash(library) == library.with_suffix(".sha256").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def _make(library: Path, source: str, make: Callable[[Path, Path], None]) -> None:
    """Make under a temporary name, then rename: nobody ever sees half a library."""
    text = library.with_suffix(".cpp")
    _write(text, source)
    descriptor, name = tempfile.mkstemp(dir=library.parent, prefix=f"{library.stem}-", suffix=".part")
    os.close(descriptor)
    made = Path(name)
    try:
        make(text, made)
        made.chmod(0o600)
        _write(library.with_suffix(".sha256"), _hash(made))
        made.replace(library)
    finally:
        with suppress(FileNotFoundError):
            made.unlink()


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-", suffix=".part")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _private(refused: str, reason: str) -> Path:
    """A directory of this process alone; one for every cache directory that was refused."""
    warnings.warn(
        f"kernels are not kept: the cache directory {refused} cannot be used ({reason}). {REMEDY}",
        CacheWarning,
        stacklevel=5,
    )
    folder = tempfile.mkdtemp(prefix="gateflow-")
    register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _in_words(problem: Exception) -> str:
    return problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)

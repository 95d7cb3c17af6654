"""The cache of built kernels: what is found there is ours, whole, and was built once however many processes ask.

A kernel is three files, named by the hash of all that it depends on: ``KEY.so`` (for a GPU ``KEY.cubin``), the source
``KEY.cpp`` (``KEY.cu``) next to it for debuggers, and ``KEY.sha256``, by which a damaged library is known before it is
loaded. A choice that was measured on this machine is a file ``KEY.choice``, a word with its own checksum. Whatever else
is found under these names is taken away and built again. What a builder has not finished lies in a folder
``.gateflow-….build`` that it has locked; the next builder removes those whose builder has died.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import warnings
from _ctypes import dlclose
from atexit import register
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from gateflow.errors import BuildError, CacheWarning, WriteError
from gateflow.files import flush, read_bounded, sweep, write

__all__ = ["LIBRARY", "Form", "cache_directory", "cached", "check_owner", "kept"]

PATIENCE = 600
"""Seconds to wait for another process that builds the same kernel, before building it for this process alone."""

REMEDY = "To keep kernels, set GATEFLOW_CACHE to a directory of your own that can be written, and run from."

STALE = 3600
"""Seconds after which what an older version left half-built is taken away; a build takes a second or two."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What somebody else left in the cache directory must not match: it would be removed.
_BUILDING = re.compile(r"\.gateflow-[0-9a-f]{16}\.build")
_OLD_DRAFT = re.compile(r"[0-9a-f]{64}-\w+\.(part|o)")

_NOT_LINKED = ("undefined symbol", "symbol not found")
"""The library is whole, and was linked in a way that does not do here; whoever loads it tries another."""


@dataclass(frozen=True)
class Form:
    """How a kind of kernel is kept.

    Attributes:
        ending: of its file.
        source: the ending of its text's.
        is_tried: whether the system must be able to load it from where it lies.
    """

    ending: str
    source: str
    is_tried: bool


LIBRARY = Form(".so", ".cpp", is_tried=True)


class _CannotRunError(Exception):
    """A whole library that the system does not load from where it lies."""


def cache_directory() -> Path:
    """Where built kernels are kept: ``$GATEFLOW_CACHE``, else ``gateflow`` in the user's cache directory.

    Raises:
        FileNotFoundError: This user has no home directory.

    Example:
        >>> cache_directory().is_absolute()
        True
    """
    try:
        if own := os.environ.get("GATEFLOW_CACHE"):
            return Path(own).expanduser().absolute()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "gateflow"
    except RuntimeError as no_home:
        raise FileNotFoundError(str(no_home)) from None


def cached(key: str, source: str, make: Callable[[Path, Path], None], form: Form = LIBRARY) -> Path:
    """The kernel of this key, from the cache or made by ``make(source_file, kernel_file)``.

    Where the cache cannot be used (read-only, full, not ours, no place to run programs from) the kernel is made in a
    private temporary directory that lives as long as this process, with one warning.

    Raises:
        BuildError: ``make`` failed, or the library can be made or loaded nowhere.
    """
    folder = "of this user"
    try:
        folder = cache_directory()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(folder)
        return _found_or_made(folder, key, source, make, form)
    except (OSError, NotImplementedError, _CannotRunError) as problem:  # the second: a file system without locks
        refused = _in_words(problem)
    try:
        library = _found_or_made(_private(str(folder)), key, source, make, form)
    except (OSError, NotImplementedError, _CannotRunError) as problem:
        raise BuildError(
            f"a kernel can be built neither in {folder} ({refused}) "
            f"nor in a temporary directory ({_in_words(problem)})."
        ) from problem
    _warn(str(folder), refused)
    return library


def kept(key: str, words: Collection[str], choose: Callable[[], str]) -> str:
    """What ``choose`` has answered on this machine, one of ``words``; it is asked where the cache has no whole answer.

    Where the cache cannot be used, the answer is that of this process alone; kernels are what users are warned for.
    """
    try:
        folder = cache_directory()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_owner(folder)
        path = folder / f"{key}.choice"
        if (word := _word(path)) in words:
            return word
        with _lock(folder / f"{key}.lock"):
            if (word := _word(path)) not in words:  # else another process measured while we waited
                word = choose()
                if path.is_dir() and not path.is_symlink():
                    _remove(path)
                write(path, f"{word} {_hash_of(word.encode())}\n", private=True)
            return word
    except (OSError, NotImplementedError):
        return choose()


def _word(path: Path) -> str:
    """The word of a file that is ours and whole; else an empty one."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        check_owner(path)
        word, checksum = read_bounded(path, 200).decode("ascii").split()
    except (OSError, ValueError):
        return ""
    return word if _hash_of(word.encode()) == checksum else ""


def check_owner(path: Path) -> None:
    """Refuse a file or directory that somebody else could have filled with their code.

    Raises:
        PermissionError: It belongs to another user, or others may write to it.
    """
    found = path.stat()
    if found.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to user {found.st_uid}, not to user {os.getuid()} who runs this")
    # Code is loaded from here: who can write here can run programs as this user.
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        right = "700" if path.is_dir() else "600"
        raise PermissionError(f"{path} can be written by other users (mend it by: chmod {right} {path})")


def _found_or_made(folder: Path, key: str, source: str, make: Callable[[Path, Path], None], form: Form) -> Path:
    library = folder / f"{key}{form.ending}"
    # Without a lock: a read-only cache gives what it has (`test_a_read_only_cache_gives_what_it_has`).
    if _whole(library, form):
        return library
    with _lock(folder / f"{key}.lock"):
        if not _whole(library, form):  # else another process made it while we waited
            _sweep(folder)
            _make(library, source, make, form)
    return library


def _whole(library: Path, form: Form) -> bool:
    """Whether the library is there, ours, what was written, and can be loaded; if not, it is built again."""
    try:
        for path in (library, checksum := library.with_suffix(".sha256")):
            # `lstat`: a link is no library of ours, wherever it leads.
            if not stat.S_ISREG(path.lstat().st_mode):
                return False
            check_owner(path)
        if _hash(library) != checksum.read_text(encoding="ascii"):
            return False
        if form.is_tried:
            _try(library)
    except (OSError, ValueError, _CannotRunError):
        return False
    return True


def _try(library: Path) -> None:
    """Load a library, and let go of it: a file that is loaded and then damaged takes the process with it."""
    try:
        dlclose(ctypes.CDLL(str(library))._handle)
    except OSError as problem:
        # Only a system that lets nothing run from this directory counts here.
        if not any(words in str(problem) for words in _NOT_LINKED):
            raise _CannotRunError(str(problem)) from problem


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One builder at a time; what lies in the lock's place and is none is taken away."""
    if path.is_symlink() or (path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK))):
        _remove(path)
    # Twenty processes that start together must not build the same kernel twenty times.
    with FileLock(path, timeout=PATIENCE, mode=0o600):
        yield


def _make(library: Path, source: str, make: Callable[[Path, Path], None], form: Form) -> None:
    """Make in a folder of its own, then rename: nobody ever sees half a library."""
    text, checksum = library.with_suffix(form.source), library.with_suffix(".sha256")
    for path in (library, text, checksum):
        if path.is_dir() and not path.is_symlink():
            _remove(path)
    # The source stays next to the library also where the compiler refuses it: the message names the file.
    write(text, source, private=True)
    with _building(library.parent) as folder:
        made = folder / library.name
        make(text, made)
        # The compiler makes it as the umask says; a library that others can write to is not loaded.
        made.chmod(0o600)
        if form.is_tried:
            _try(made)
        # Before the rename: after a power cut the name must not lead to nothing.
        flush(made)
        # Before the library has its name: one without a checksum counts as damaged.
        write(checksum, _hash(made), private=True)
        made.replace(library)
    flush(library.parent)


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """A private folder for what is not finished, locked as long as this process lives, and removed at the end."""
    place, descriptor = _new_place(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def _new_place(folder: Path) -> tuple[Path, int]:
    while True:
        place = folder / f".gateflow-{secrets.token_hex(8)}.build"
        place.mkdir(mode=0o700)
        descriptor = os.open(place, _FOLDER)
        with suppress(OSError):  # a file system without locks: it is never swept
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if place.exists():
            return place, descriptor
        os.close(descriptor)  # swept between the two calls, when it was not yet locked


def _sweep(folder: Path) -> None:
    """Take away what builders that were killed have left."""
    sweep(folder)
    for entry in list(folder.iterdir()):
        with suppress(OSError):
            if _BUILDING.fullmatch(entry.name):
                _remove_if_abandoned(entry)
            elif _OLD_DRAFT.fullmatch(entry.name) and entry.lstat().st_mtime < time.time() - STALE:
                entry.unlink()


def _remove_if_abandoned(place: Path) -> None:
    descriptor = os.open(place, _FOLDER)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its builder lives
        shutil.rmtree(place)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """What does not belong in the cache, also a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _hash(path: Path) -> str:
    return _hash_of(path.read_bytes())


def _hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@functools.cache
def _private(refused: str) -> Path:
    """A directory of this process alone; one for every cache directory that was refused."""
    folder = tempfile.mkdtemp(prefix="gateflow-")
    register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _warn(refused: str, reason: str) -> None:
    """Once for each directory, whatever happens to it afterwards."""
    if refused not in _warned:
        _warned.add(refused)
        words = f"kernels are not kept: the cache directory {refused} cannot be used ({reason}). {REMEDY}"
        warnings.warn(words, CacheWarning, stacklevel=5)


_warned: set[str] = set()


def _in_words(problem: BaseException) -> str:
    if isinstance(problem, WriteError) and problem.__cause__ is not None:
        return _in_words(problem.__cause__)
    return problem.strerror or str(problem) if isinstance(problem, OSError) else str(problem)

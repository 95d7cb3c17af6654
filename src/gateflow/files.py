"""The one writer: files that appear whole or not at all, whatever is killed, and whatever lies in their way.

    with appears_whole(path) as file:      .gateflow-3f…c0.draft: a random name, new, private (O_EXCL, O_NOFOLLOW, 0600)
        file.write(content)                → fsync → mode of an ordinary file → rename → fsync of the folder

A draft is locked by who writes it; the system lets go of the lock when that process dies, however it dies. So `sweep`
knows the drafts of the dead from those of the living.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gateflow.errors import WriteError

__all__ = [
    "appears_whole",
    "append",
    "flush",
    "is_draft",
    "open_ordinary",
    "read_bounded",
    "refuse_unwritable",
    "refused",
    "sweep",
    "write",
]

# 64 random bits: nobody can lay a link where the next draft will be.
_DRAFT = re.compile(r"\.gateflow-[0-9a-f]{16}\.draft")
# O_EXCL and O_NOFOLLOW refuse whatever lies there already. Without O_CLOEXEC a program that is started
# meanwhile would inherit the lock, and the draft would never count as abandoned.
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The umask belongs to the process: two threads that ask at once would leave a wrong one behind.
_umask_is_asked = threading.Lock()


@contextmanager
def appears_whole(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """An open file; on leaving the block its content takes the place of ``path`` in one step.

    If the block fails, or the process is killed inside it, the previous file stays as it was. A link that lies at
    ``path`` is replaced, and what it points to is left alone. A device is not: who may write into ``/dev`` would put a
    file in the place of ``/dev/null``, and whatever runs on the machine would find it there.

    Args:
        path: where the file appears; its folder exists.
        private: keep it readable by its owner alone. Otherwise it has the mode of the file that it replaces, or, where
            it is new, the one that the process's umask gives.

    Raises:
        WriteError: the file system refused: disk full, no permission; or a device is there.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "text.txt"
        >>> with appears_whole(target) as file:
        ...     _ = file.write(b"whole")
        >>> target.read_text()
        'whole'
    """
    try:
        _refuse_device(path)
        draft, descriptor = _draft_beside(path)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                # Content, then name, then folder: in another order a power cut can leave a name without content.
                os.fsync(descriptor)
                # Only now may others read it: what is half written is private.
                os.fchmod(descriptor, 0o600 if private else _mode_of(path))
                os.replace(draft, path)
            # The rename is an entry of the folder, and lost with it.
            flush(path.parent)
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    except OSError as error:
        raise refused(path, error) from error


def write(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Make this the whole content of ``path``, as :func:`appears_whole` does.

    Raises:
        WriteError: the file system refused.

    Example:
        >>> import tempfile
        >>> write(Path(tempfile.mkdtemp()) / "text.txt", "whole")
    """
    with appears_whole(path, private=private) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def refuse_unwritable(path: Path) -> None:
    """Find out, before what is to be written is computed, whether ``path`` can be.

    Raises:
        WriteError: the file system refused a draft in its folder, or ``path`` is a folder, a device or a pipe.
    """
    try:
        _refuse_device(path)
        _refuse_folder_or_pipe(path)
        draft, descriptor = _draft_beside(path)
        os.close(descriptor)
        draft.unlink(missing_ok=True)
    except OSError as error:
        raise refused(path, error) from error


def append(path: Path, text: str) -> None:
    """Add to the end of an ordinary file, which is made if it is not there; `flush` makes it outlive a power cut.

    Raises:
        WriteError: the file system refused, or ``path`` is a link, a pipe or a device.
    """
    try:
        # A run that was sent may hold a link of this name to a file of the user's.
        with open(path, "ab", opener=_opener(os.O_NOFOLLOW)) as file:
            _refuse_special(file)
            file.write(text.encode())
    except OSError as error:
        raise refused(path, error) from error


def flush(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove the drafts that killed processes have left in a folder; one that is being written stays.

    Where that is not allowed they stay too: they are in nobody's way.
    """
    with suppress(OSError):
        # What it points to is not this run's, and is not cleaned up.
        if folder.is_symlink():
            return
        for draft in [entry for entry in folder.iterdir() if is_draft(entry.name)]:
            with suppress(OSError):
                _remove_if_abandoned(draft)


def is_draft(name: str) -> bool:
    """Whether a file is called as the drafts of this writer are.

    Example:
        >>> is_draft(".gateflow-0123456789abcdef.draft"), is_draft("draft.txt")
        (True, False)
    """
    return _DRAFT.fullmatch(name) is not None


def open_ordinary(path: Path) -> BinaryIO:
    """A file to be read that is a file: no folder, and no pipe or device, which may have no end.

    Raises:
        OSError: there is none, it is something else, or it cannot be read.
    """
    # Opened first and looked at then: between a look and the opening the file could be exchanged.
    file = open(path, "rb", opener=_opener())  # noqa: SIM115  (the caller closes it)
    try:
        _refuse_special(file)
    except OSError:
        file.close()
        raise
    return file


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a file or pipe of at most so many bytes.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is larger; no more than that has been read.
    """
    with path.open("rb") as file:
        # One byte more tells whether it is larger; its size is not asked for, since a pipe has none.
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    return content


def refused(path: Path, error: OSError) -> WriteError:
    """What to tell the user when ``path`` could not be written."""
    # From a block within this one, which has named its own file.
    if isinstance(error, WriteError):
        return error
    return WriteError(
        f"could not write {path}: {error.strerror or error}. What was there before is untouched; "
        "make room or choose a folder you may write to, then go on."
    )


def _opener(more: int = 0) -> Callable[[str, int], int]:
    """Opens with these flags as well, and waits for no other end of a pipe."""
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    return lambda path, flags: os.open(path, flags | more | os.O_NONBLOCK, 0o666)


def _refuse_special(file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")


def _refuse_device(path: Path) -> None:
    """Refuse the name of a device; in ``/dev`` any name, since links such as ``stdout`` lie there too."""
    device = os.path.realpath(path.parent) == "/dev"
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        device |= stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    if device:
        raise OSError(errno.EINVAL, "a device is no file that could be replaced")


def _refuse_folder_or_pipe(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.is_fifo():  # whoever reads at its other end would wait for ever
        raise OSError(errno.EINVAL, "it is a pipe, in whose place a file would be put")


def _draft_beside(path: Path) -> tuple[Path, int]:
    """A new file that nobody else knows, private and locked, and its descriptor."""
    while True:
        # Next to the target: a rename is one step within a file system only.
        draft = path.with_name(f".gateflow-{secrets.token_hex(8)}.draft")
        descriptor = os.open(draft, _NEW, 0o600)
        with suppress(OSError):  # a file system without locks: its drafts are never swept
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return draft, descriptor
        os.close(descriptor)  # swept between the two calls, when it was not yet locked


def _remove_if_abandoned(draft: Path) -> None:
    descriptor = os.open(draft, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
        draft.unlink()
    finally:
        os.close(descriptor)


def _mode_of(path: Path) -> int:
    """The mode of the ordinary file that is there, else what the umask leaves of 666."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            # Permissions alone: set-user-id bits were given to other content.
            return stat.S_IMODE(found.st_mode) & 0o777
    with _umask_is_asked:  # asking means setting: with the strictest one, should another thread make a file meanwhile
        umask = os.umask(0o077)
        os.umask(umask)
    return 0o666 & ~umask

"""Errors as one or two lines on stderr, with the exit code that belongs to them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import typer

from gateflow.cli.output import say
from gateflow.errors import CellError, ConfigError, GateflowError, UnknownCellError

# 1 and 2 as click has them; 130 is 128 + SIGINT, which shells and cluster managers know.
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

# Of the command line itself; typer has a click of its own, or uses that which is installed.
UsageError: Any = typer.BadParameter.__mro__[1]

# What torch's allocators say, on a CPU and on a GPU; they have no class of their own for it on all devices.
_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
# What gloo and NCCL say in one process when another has ended.
_PEER = ("closed by peer", "reset by peer", "NCCL communicator was aborted", "remote process exited")


class TwoLines:
    """A context that turns what escapes it into a short message and an exit code; with `debug` into a traceback.

    Example:
        >>> with TwoLines(debug=False):
        ...     raise ConfigError("--layers 0: input should be greater than or equal to 1.")
        Traceback (most recent call last):
            ...
        SystemExit: 2
    """

    def __init__(self, debug: bool) -> None:
        self.debug = debug

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # SystemExit is how typer leaves, with its own code.
        if error is None or isinstance(error, SystemExit) or self.debug:
            return
        say(message(error), style="red")
        # The cause would be printed as a traceback.
        raise SystemExit(exit_code(error)) from None


def exit_code(error: BaseException) -> int:
    """2 where other words on the command line are the remedy, 130 for Ctrl-C, 1 for all else."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    # What other words on the command line can mend.
    return WRONG_USE if isinstance(error, ConfigError | UnknownCellError | CellError) else FAILED


def message(error: BaseException) -> str:
    """What the user reads."""
    if isinstance(error, KeyboardInterrupt):
        return "gateflow: stopped at once; a run goes on from its last checkpoint with `gateflow resume RUN`."
    if isinstance(error, GateflowError):
        return f"gateflow: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"gateflow: {error.strerror}: {error.filename or 'while reading or writing'}."
    # Some errors of torch are pages long, and the first line is what they are about.
    first_line = (str(error).strip() or "no further words").splitlines()[0]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(w in first_line for w in _MEMORY)):
        return f"gateflow: there is not enough memory for this ({first_line}); choose smaller sizes."
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _PEER):
        return "gateflow: another process of this training has ended, and says why; then gateflow resume goes on."
    return (
        f"gateflow: unexpected {type(error).__name__}: {first_line}\nRun the command again with --debug to see where."
    )


def dim_note(text: Warning | str, *_: object, **__: object) -> None:
    """A warning as one dim line, in place of Python's two with a source line."""
    say(f"note: {text}", style="dim")


class Notes(logging.Handler):
    """What the library has to tell, and is nothing amiss, as dim lines like those of warnings; each text once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        # Cells that are compared begin from the same vectors, over and over.
        if (text := record.getMessage()) not in self.told:
            self.told.add(text)
            dim_note(text)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block they are."""
        logger = logging.getLogger("gateflow")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(level)


def visible_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What --debug ends in: Python's traceback, in which a message may hold text of others."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip())

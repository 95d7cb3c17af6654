"""Lines of a text as they come: each time as many as are there, so that nobody waits for one not yet written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TypeVar

from gateflow.data.source import STDIN
from gateflow.data.text import read_lines
from gateflow.errors import GateflowError

__all__ = ["blocks_of", "blocks_of_lines"]

T = TypeVar("T")


def blocks_of(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield lists of at most so many, in order (Python 3.12 has it).

    Example:
        >>> list(blocks_of("abcde", 2))
        [['a', 'b'], ['c', 'd'], ['e']]
    """
    remaining = iter(items)
    while block := list(islice(remaining, most)):
        yield block


def blocks_of_lines(path: Path, most: int) -> Iterator[list[str]]:
    r"""Yield lines in blocks of at least one and at most `most`.

    Those of a file come `most` at a time. Of what is piped in a block is whatever has been written by now: one line, if
    somebody types.

    Raises:
        DataError: as `read_lines`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "text.txt"
        >>> _ = file.write_text("one\ntwo\nthree\n")
        >>> list(blocks_of_lines(file, most=2))
        [['one', 'two'], ['three']]
    """
    if path != STDIN:
        yield from blocks_of(read_lines(path), most)
        return
    # Bounded: a pipe may be faster than whoever reads it.
    queue: Queue[str | Exception | None] = Queue(most)
    Thread(target=_read, args=(path, queue), daemon=True).start()
    while True:
        block = [queue.get()]
        with suppress(Empty):
            while len(block) < most and isinstance(block[-1], str):
                block.append(queue.get_nowait())
        last = block[-1]
        if lines := [line for line in block if isinstance(line, str)]:
            yield lines
        if isinstance(last, Exception):
            raise last
        if last is None:
            return


def _read(path: Path, queue: Queue[str | Exception | None]) -> None:
    """Put the lines, then none; or the error, which the other thread raises."""
    try:
        for line in read_lines(path):
            queue.put(line)
    except (GateflowError, OSError) as error:
        queue.put(error)
    finally:
        # Whatever has happened, the other thread must not wait for ever.
        queue.put(None)

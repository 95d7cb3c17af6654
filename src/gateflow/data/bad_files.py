"""Files of which some cannot be read: the first is refused by name, or all are left out and told of together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gateflow.data.track import Track
from gateflow.errors import DataError, DataWarning

__all__ = ["read_each"]

S = TypeVar("S")
T = TypeVar("T")

# Files that a warning names; of the others it says how many.
_NAMED = 3


def read_each(
    files: Sequence[S],
    read: Callable[[S], T],
    where: str,
    *,
    skip_bad: bool = False,
    what: str = "files",
    doing: str = "reading",
    track: Track = lambda items, doing, total: items,
) -> Iterator[T]:
    """Yield what is read of each file, in order.

    Args:
        files: all of them, or all lines of one.
        read: reads one, or raises a `DataError` that names it.
        where: what they are called together, such as the path of their list.
        skip_bad: leave out files that cannot be read, and warn of them at the end.
        what: they are called in messages.
        doing: what is shown while it is done.
        track: shows progress.

    Raises:
        DataError: a file cannot be read; or with `skip_bad` not one can.

    Warns:
        DataWarning: files were left out.
    """
    bad: list[DataError] = []
    for file in track(files, doing, len(files)):
        try:
            found = read(file)
        except DataError as error:
            if not skip_bad:
                raise DataError(f"{error} (--skip-bad leaves out what cannot be read.)") from error
            bad.append(error)
            continue
        yield found
    _tell(bad, f"{len(files):,} {what}", where, all_bad=len(bad) == len(files))


def _tell(bad: Sequence[DataError], count: str, where: str, *, all_bad: bool) -> None:
    if not bad:
        return
    first = " ".join(str(error) for error in bad[:_NAMED])
    more = f" And {len(bad) - _NAMED:,} more." if len(bad) > _NAMED else ""
    if all_bad:
        raise DataError(f"{where}: not one of {count} can be read. {first}{more}")
    warnings.warn(
        f"{where}: {len(bad):,} of {count} cannot be read and are left out. {first}{more}",
        DataWarning,
        stacklevel=4,
    )

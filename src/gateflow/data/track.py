"""What shows how far something has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["Track"]

T = TypeVar("T")


class Track(Protocol):
    """It hands the items on, one by one."""

    def __call__(self, items: Iterable[T], doing: str, total: int) -> Iterable[T]:
        """The same items; `doing` says what is done to them, `total` how many they are."""
        ...

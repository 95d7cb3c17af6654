"""Properties that are computed once, however many threads ask for them at the same time."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

__all__ = ["lock", "once"]

lock = threading.RLock()
"""Held while anything is captured, derived or entered: layers may be built and called in several threads."""


class once(cached_property):  # noqa: N801  (used as a decorator, as `cached_property` is)
    """`cached_property` with a lock, which Python's has no longer since 3.12.

    Nodes of a graph are compared by identity. Two threads that derived the backward graph at the same time would have
    two, and what was kept of one could not be found in the other.
    """

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Asked only until the value is there: then the instance has an attribute of this name."""
        if instance is None:
            return self
        with lock:
            return super().__get__(instance, owner)

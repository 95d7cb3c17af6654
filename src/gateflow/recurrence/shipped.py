"""Whether a cell still computes what the shipped one of its class does, so that a kernel of others may stand for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateflow.cells import Cell

__all__ = ["Shipped"]

# All that decides what a step computes; a subclass that only has a new name keeps the kernel.
_DECIDES = ("step", "advance", "bind", "over", "_leaves", "__getattr__", "__getattribute__", "gates")


def _made_of(kind: type[Cell]) -> list[Any]:
    return [getattr(kind, name) for name in _DECIDES]


class Shipped:
    """Cells as they were when this was made; a step may be replaced later, by a user's own.

    Example:
        >>> from gateflow.cells import LSTM, ProjectedLSTM
        >>> shipped = Shipped([LSTM])
        >>> shipped.kind_of(LSTM(3, 4)).__name__, shipped.kind_of(ProjectedLSTM(3, 4))
        ('LSTM', None)
    """

    def __init__(self, kinds: Iterable[type[Cell]]):
        self._known = {kind: _made_of(kind) for kind in kinds}

    def kind_of(self, cell: Cell) -> type[Cell] | None:
        """The class whose equations the cell has; none where a subclass, or the cell, has some of its own."""
        if not vars(cell).keys().isdisjoint(_DECIDES):
            return None
        kinds = (kind for kind in self._known if isinstance(cell, kind))
        return next((kind for kind in kinds if _made_of(type(cell)) == self._known[kind]), None)

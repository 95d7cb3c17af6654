"""The one registry of cells: by name on the command line, in config files and in `Recurrent`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TypeVar

from gateflow.cell_names import unknown
from gateflow.cells.cell import Cell
from gateflow.errors import UnknownCellError

__all__ = ["get", "name_of", "names", "register"]

C = TypeVar("C", bound=type[Cell])
_CELLS: dict[str, type[Cell]] = {}


def register(name: str):
    """Class decorator that enters a cell under a name, for `get`, `Recurrent` and the command line.

    Raises:
        ValueError: the name is taken by another cell.

    Example:
        >>> import torch
        >>> @register("slow")
        ... class Slow(Cell):
        ...     states = ("h",)
        ...     gates = ("content",)
        ...
        ...     def step(self, x, h):
        ...         return 0.9 * h + 0.1 * torch.tanh(self.content(h, x))
        >>> get("slow") is Slow
        True
    """

    def enter(cls: C) -> C:
        # The same class again is a module that was reloaded, or a block of a notebook that ran twice.
        if name in _CELLS and _CELLS[name].__qualname__ != cls.__qualname__:
            raise ValueError(f"cell name {name!r} is taken by {_CELLS[name].__qualname__}; choose another")
        _CELLS[name] = cls
        return cls

    return enter


def names() -> list[str]:
    """Names of all registered cells, in the order in which they were entered.

    Example:
        >>> "full_gru" in names()
        True
    """
    return list(_CELLS)


def get(name: str) -> type[Cell]:
    """The cell class of a registered name, or of `package.module:Class` (a module next to the user's script too).

    Raises:
        UnknownCellError: no such name, with the closest ones; or the module has no such cell.

    Example:
        >>> get("lstm").states
        ('h', 'c')
    """
    if name in _CELLS:
        return _CELLS[name]
    if ":" in name:
        return _imported(*name.split(":", 1))
    raise unknown(name, _CELLS)


def name_of(cls: type[Cell]) -> str:
    """The registered name of a cell class, or `package.module:Class`, such that `get` finds it again.

    Example:
        >>> name_of(get("lstm"))
        'lstm'
    """
    return next((name for name, cell in _CELLS.items() if cell is cls), f"{cls.__module__}:{cls.__qualname__}")


def _imported(module: str, attribute: str) -> type[Cell]:
    # Python refuses an empty name with errors of other kinds, and one that begins with a dot is relative to nothing.
    if not all(part.isidentifier() for part in module.split(".")):
        raise UnknownCellError(f"{module}:{attribute} is no place of a cell; write it as package.module:Class")
    # The command `gateflow` does not have the current folder on its path, as a script has its own. Last
    # on the path, so that a file of the user's does not take the place of an installed module.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownCellError(f"cannot load the cell {module}:{attribute}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise UnknownCellError(f"{module}:{attribute} is {found!r}, not a subclass of gateflow.cells.Cell")
    return found

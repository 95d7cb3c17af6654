"""What a pickle of a layer holds: weights, numbers and names, so that `torch.load` needs to be allowed few classes.

The cells of this library are written by name, those of a user by class; what is made from them is made again.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from gateflow import cells
from gateflow.cells import Cell
from gateflow.errors import UnknownCellError
from gateflow.layers.options import Options

__all__ = ["plain_state", "with_cells"]

_Written = tuple[str | type[Cell], dict[str, Any]]


def plain_state(layer: Any) -> dict[str, Any]:
    """The attributes of a layer, its options as a dictionary and its cells as `(name or class, attributes)`."""
    state = vars(layer).copy()
    # Weights as kernels read them, which are packed again at the first step.
    del state["_streams"]
    state["options"] = asdict(layer.options)
    state["_equations"] = [_written(cell) for cell in layer._equations]
    return state


def with_cells(state: dict[str, Any]) -> dict[str, Any]:
    """The same with its options and cells as they were; pickles from before version 0.2 hold those as they are.

    Raises:
        UnknownCellError: a name that no cell has here.
    """
    options = state["options"] if isinstance(state["options"], Options) else Options(**state["options"])
    equations = [w if isinstance(w, Cell) else _cell(*w) for w in state["_equations"]]
    return {**state, "options": options, "_equations": equations}


def _written(cell: Cell) -> _Written:
    kind, blank = type(cell), vars(nn.Module())
    # What every module has is left out: it is made again, and torch's next version may have other attributes.
    own = {n: v for n, v in cell.__getstate__().items() if n not in blank or v != blank[n]}
    return next((name for name in cells.names() if cells.get(name) is kind), kind), own


def _cell(kind: str | type[Cell], own: dict[str, Any]) -> Cell:
    # Never by import: a pickle must not choose a module that is run.
    if isinstance(kind, str) and kind not in cells.names():
        raise UnknownCellError(
            f"the saved layer has a cell named {kind!r}, which is not registered here; import it first"
        )
    found = cells.get(kind) if isinstance(kind, str) else kind
    cell = found.__new__(found)
    nn.Module.__init__(cell)
    vars(cell).update(own)
    return cell

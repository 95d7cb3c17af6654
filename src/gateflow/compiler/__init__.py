"""From equations to one kernel per direction of time.

    pattern  = Recording(cell)        the step, run on stand-ins: what it calls is what it is
    graph    = capture(cell)          the same as a graph of rows
    backward = differentiate(graph)   a table, one line per operation
    plans    = Programs(graph)        cut into passes; what is kept, what is recomputed
    text     = emit(plans)            C++ for the equations; the frame is native/recurrence.h
    library  = build(text)            the system's compiler, once per machine
    kernel   = Kernel(plans)          the loops as functions of tensors
    step     = look_at(cell)          all of this, once for each step that computes something else

Each stage is a file; `gateflow explain CELL --stage graph|backward|plan|cpp` prints what it makes.
"""

from __future__ import annotations

from gateflow.cells import Cell
from gateflow.compiler.compiled_cell import CompiledCell, Step, is_name, is_shipped, look_at, look_of, step_named
from gateflow.errors import UnsupportedStepError

__all__ = ["CompiledCell", "Step", "compile_cell", "is_name", "is_shipped", "look_at", "look_of", "step_named"]


def compile_cell(cell: Cell, *, zoneout: bool = False) -> CompiledCell:
    """The compiled loops of a cell, for any batch, length and number of steps.

    Nothing is built before the first use. Cells with the same equations share one kernel.

    Args:
        cell: the equations; the weights, and the numbers that the step reads, are given to each run.
        zoneout: whether parts of the old state stay, see `capture`.

    Raises:
        UnsupportedStepError: the step uses what the compiler does not know.

    Example:
        >>> from gateflow.cells import PeepholeLSTM
        >>> print(compile_cell(PeepholeLSTM(3, 4)).programs.infer)  # doctest: +ELLIPSIS
        pass 0 over H, ahead:
            sums 0 to 3 += (weight_ih[0] weight_ih[1] weight_ih[2] weight_ih[3]) @ x
        ...
    """
    step = look_at(cell, zoneout=zoneout)
    if isinstance(step, str):
        raise UnsupportedStepError(step)
    return step.cell

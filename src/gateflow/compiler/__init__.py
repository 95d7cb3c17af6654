"""From equations to the plans of loops over time, the same for every machine.

    pattern  = Recording(cell)        the step, run on stand-ins: what it calls is what it is
    graph    = capture(cell)          the same as a graph of rows
    backward = differentiate(graph)   the derivative of each operation, applied to the graph
    storage  = Storage(graph)         what is kept, what is recomputed, and where it lies
    plans    = Programs(storage, …)   cut into passes, by what a back end pays for memory
    text     = passes(plan)           C++ of the equations; each back end has its frame around them
    step     = look_at(cell)          all of this, once for each step that computes something else

Each stage is a file; `gateflow explain CELL --stage graph|backward|plan|cpp` prints what it makes. A back end
(`backends/`) builds the text and runs the loops.
"""

from __future__ import annotations

from gateflow.cells import Cell
from gateflow.compiler.calls import SUPPORTED
from gateflow.compiler.compiled_cell import CompiledCell, Step, is_name, step_named
from gateflow.compiler.dynamo import constant_result, when_loaded
from gateflow.compiler.look import is_shipped, look_at, look_of
from gateflow.compiler.plan import Costs
from gateflow.errors import UnsupportedStepError

__all__ = ["CompiledCell", "Costs", "Step", "compile_cell", "constant_result", "is_name", "is_shipped", "look_at"]
__all__ += ["SUPPORTED", "look_of", "step_named", "when_loaded"]


def compile_cell(cell: Cell, *, zoneout: bool = False) -> CompiledCell:
    """What a cell's step computes, captured, for any batch, length and number of steps.

    Nothing is built; a back end does that when a loop is first needed. Cells with the same equations share one kernel.

    Args:
        cell: the equations; the weights, and the numbers that the step reads, are given to each run.
        zoneout: whether parts of the old state stay, see `capture`.

    Raises:
        UnsupportedStepError: the step uses what the compiler does not know.

    Example:
        >>> from gateflow.cells import PeepholeLSTM
        >>> print(compile_cell(PeepholeLSTM(3, 4)).programs(Costs(load=3)).infer)  # doctest: +ELLIPSIS
        pass 0 over H, ahead:
            sums 0 to 3 += (weight_ih[0] weight_ih[1] weight_ih[2] weight_ih[3]) @ x
        ...
    """
    step = look_at(cell, zoneout=zoneout)
    if isinstance(step, str):
        raise UnsupportedStepError(step)
    return step.cell

"""From equations to one kernel per direction of time.

    graph    = capture(cell)          the step, traced: a graph of rows
    backward = differentiate(graph)   a table, one line per operation
    plans    = Programs(graph)        cut into passes; what is kept, what is recomputed
    text     = emit(plans)            C++ for the equations; the frame is native/recurrence.h
    library  = build(text)            the system's compiler, once per machine
    kernel   = Kernel(plans)          the loops as functions of tensors

Each stage is a file; `gateflow explain CELL --stage graph|backward|plan|cpp` prints what it makes.
"""

from __future__ import annotations

from torch import nn

from gateflow.cells import Cell
from gateflow.compiler.capture import capture
from gateflow.compiler.kernel import Kernel
from gateflow.compiler.programs import Programs
from gateflow.errors import UnsupportedStepError

__all__ = ["compile_cell", "kernel_number", "kernel_numbered"]

_SCALARS = (int, float, str, bool)
_PLAIN = (*_SCALARS, tuple, list, dict)
_OF_MODULES = frozenset(vars(nn.Module())) - {"training"}
_kernels: list[Kernel] = []
_numbers: dict[tuple[object, ...], int | str] = {}


def compile_cell(cell: Cell, *, zoneout: bool = False) -> Kernel:
    """The compiled loops of a cell, for any batch, length and number of steps.

    Nothing is built before the first use. Cells with the same equations share one kernel.

    Args:
        cell: the equations; the weights are given to each run.
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
    number = kernel_number(cell, zoneout=zoneout)
    if isinstance(number, str):
        raise UnsupportedStepError(number)
    return _kernels[number]


def kernel_number(cell: Cell, *, zoneout: bool = False) -> int | str:
    """The number of a cell's kernel, by which an operator of torch can name it; else why there is none."""
    key = (*_fingerprint(cell), zoneout)
    if key not in _numbers:
        try:
            _kernels.append(Kernel(Programs(capture(cell, zoneout=zoneout)), cell.over({})))
            _numbers[key] = len(_kernels) - 1
        except UnsupportedStepError as refusal:
            _numbers[key] = str(refusal)
    return _numbers[key]


def kernel_numbered(number: int) -> Kernel:
    """The kernel that has a number."""
    return _kernels[number]


def _fingerprint(cell: Cell) -> tuple[object, ...]:
    """What a captured step depends on: its code, the sizes, and plain attributes such as rates that it reads."""
    own = [(k, v) for k, v in vars(cell).items() if k not in _OF_MODULES]
    return type(cell), type(cell).step, tuple([(k, _frozen(v)) for k, v in own if isinstance(v, _PLAIN)])


def _frozen(value: object) -> object:
    """A plain value as a key; `1` and `True` are told apart."""
    if isinstance(value, _SCALARS):
        return type(value), value
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    return type(value), repr(value)

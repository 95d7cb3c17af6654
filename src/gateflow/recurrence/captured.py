"""The captured step by which kernels run a cell now, or why they cannot; while torch compiles, the name of the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.autograd import forward_ad
from torch.overrides import has_torch_function

from gateflow.backends import backend_of
from gateflow.cells import Cell
from gateflow.compiler import Step, is_name, is_shipped, look_at, look_of
from gateflow.recurrence.private_torch import tracing_state, transforms

__all__ = ["Found", "products_of", "step_for", "step_of", "transformed"]

Found = tuple[Step | str | None, str | None]
"""A step, or none and why. While torch compiles, a step goes by its name."""


def step_for(cell: Cell, *, zoneout: bool, device: torch.device, dtype: torch.dtype) -> Found:
    """The captured step that runs a cell, or why the compiled loops cannot."""
    backend = backend_of(device)
    if backend is None:
        return None, f"kernels are built for CPUs and CUDA, the input is on {device}"
    if not torch.compiler.is_compiling() and has_torch_function(tuple(cell._parameters.values())):
        return None, "the weights are of a class that wants to see every operation of torch"
    if tracing_state() is not None:
        return None, "torch.jit.trace is at work, whose graphs hold torch's own operations"
    if dtype not in (known := (*backend.dtypes, *backend.halves)):
        return None, f"kernels compute in {_names(known)}, the input is {_names([dtype])}"
    if _is_narrowed_to_another(device, backend.halves):
        return None, f"autocast asks for float16, kernels round products to {_names(backend.halves)} alone"
    step, refusal = step_of(cell, zoneout=zoneout)
    # What costs nothing is asked first: `obstacle` may have to look for a compiler.
    obstacle = refusal or transformed() or backend.obstacle() or _rounded_by_torch(cell, step, zoneout, dtype)
    return (step, None) if obstacle is None else (None, obstacle)


def products_of(device: torch.device, dtype: torch.dtype) -> torch.dtype | None:
    """To what factors of products are rounded: the input's dtype, if it is of 16 bits, or autocast's; none for neither.

    States and sums are float32 then.
    """
    backend, kind = backend_of(device), device.type
    halves = () if backend is None else backend.halves
    if dtype in halves:
        return dtype
    # float64 is not narrowed by autocast, in torch neither.
    if dtype != torch.float32 or not torch.is_autocast_enabled(kind):
        return None
    asked = torch.get_autocast_dtype(kind)
    return asked if asked in halves else None


def _names(dtypes: Sequence[torch.dtype]) -> str:
    *first, last = [str(dtype).removeprefix("torch.") for dtype in dtypes]
    return f"{', '.join(first)} and {last}" if first else last


def _is_narrowed_to_another(device: torch.device, halves: Sequence[torch.dtype]) -> bool:
    """On a CPU kernels run in float32 then, which is no loss; on a GPU torch's own are faster."""
    kind = device.type
    return kind == "cuda" and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) not in halves


def _rounded_by_torch(cell: Cell, step: Step | str | None, zoneout: bool, dtype: torch.dtype) -> str | None:
    """Of truth values and numbers alone torch makes rows of its default dtype, whatever dtype the other rows have."""
    if step is None or dtype != torch.float64 or torch.get_default_dtype() == torch.float64:
        return None
    narrow = step.cell.has_narrow_rows if isinstance(step, Step) else look_of(cell).has_narrow_rows_now(zoneout)
    return "truth values with numbers are float32 in torch (its default dtype)" if narrow else None


def step_of(cell: Cell, *, zoneout: bool) -> Found:
    """What a cell's step computes now, or why it cannot be compiled. While torch compiles, a step goes by its name."""
    if not torch.compiler.is_dynamo_compiling():
        step = look_at(cell, zoneout=zoneout)
        return (None, step) if isinstance(step, str) else (step, None)
    _let_dynamo_read(cell)
    _let_dynamo_compare(cell)
    own = vars(vars(cell).get("_origin", cell)).get("_own", "")  # a new attribute may hide one of the class
    name = look_of(cell).name_now(zoneout, own)
    if prepared := look_of(cell).prepared_now(zoneout):
        return None, f"{prepared}, under torch.compile"
    return (name, None) if is_name(name) else (None, name)


def _let_dynamo_compare(cell: Cell) -> None:
    """Compares the cell's numbers with what they are, so that torch's compiler guards their values.

    One that has changed once may be taken for an input of the graph; but it is a part of the step's name.
    """
    look = look_of(cell)
    seen: set[str] = set()
    kinds = [vars(kind) for kind in type(cell).__mro__ if kind is not Cell and issubclass(kind, Cell)]
    for names in (vars(vars(cell).get("_origin", cell)), *kinds):
        for name, value in names.items():
            # An attribute of the cell hides one of its class, and one of a class those of its bases.
            # NaN is not equal to itself, and torch's own guard knows it.
            if type(value) is float and name not in seen and value == value and value != look.number_now(name):
                raise RuntimeError(f"{name} has changed while torch compiled {type(cell).__name__}")
            seen.add(name)


def _let_dynamo_read(cell: Cell) -> None:
    """Traces one step whose result nobody uses, so that torch's compiler guards all that the step reads."""
    if not is_shipped(cell):
        like = next(w for w in cell._parameters.values() if w is not None)
        x = like.new_zeros(1, cell.row_size)
        # Nobody uses the result, so nothing of it is kept for a backward pass.
        with torch.no_grad():
            cell.bind().advance(x, cell.initial_state(x))


def transformed() -> str | None:
    """The transforms of `torch.func` and forward-mode derivatives want operations they can see into."""
    if torch.compiler.is_compiling():
        return None
    if transforms() is not None:
        return "a transform of torch.func is at work, which needs to see every operation"
    return "forward-mode differentiation needs to see every operation" if forward_ad._current_level >= 0 else None

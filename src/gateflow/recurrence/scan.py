"""A cell's step over time as one operator of torch, `scan`, whose body holds the step's own operations.

It is what leaves Python: `torch.export` keeps it for any number of steps, ONNX has `Scan` for it, AOTInductor a loop.
The step itself is traced, not what was captured of it, so that a cell that does not compile leaves as well.

Source of the operator: torch/_higher_order_ops/scan.py.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.compiler import look_at, look_of
from gateflow.errors import ExportError
from gateflow.recurrence.joined import Joined
from gateflow.recurrence.leaving import leaves_for_onnx

__all__ = ["unroll"]

State = tuple[Tensor, ...]


def unroll(
    cell: Cell,
    x: Tensor,
    state: State,
    *,
    valid: Tensor | None = None,
    zoneout: tuple[Tensor | float, ...] | None = None,
) -> tuple[Tensor, State]:
    """Runs `cell.step` over time; arguments and results are those of `reference.unroll`.

    Raises:
        ExportError: the step does more than compute, so that no graph can hold it.
    """
    _refuse_effects(cell)
    # Here, since torch loads what belongs to operators with bodies only when asked.
    from torch._higher_order_ops.scan import scan_op

    joined, names = Joined.of(cell), [name for name, weight in cell._parameters.items() if weight is not None]
    weights = [*(cell._parameters[name] for name in names), *joined.weights(cell)]
    products, masks = joined.of_input(cell, x), [] if valid is None else [valid]
    holds = () if zoneout is None else zoneout
    # Inductor asks for the size of a batch by its name, which must be among what the body is given.
    batch = [size for size in x.shape[1:2] if isinstance(size, torch.SymInt)]

    def body(*given: Tensor) -> list[Tensor]:
        rest = iter(given)
        old, x_t = tuple(next(rest) for _ in state), next(rest)
        of_input, mask = [next(rest) for _ in products], [next(rest) for _ in masks]
        kept = tuple(next(rest) if isinstance(hold, Tensor) else hold for hold in holds)
        rest = itertools.islice(rest, len(batch), None)
        own = cell.over({name: next(rest) for name in names})
        new = joined.bound(own, x_t, old, of_input, rest).advance(x_t, old)
        if kept:
            new = tuple(hold * o + (1 - hold) * n for hold, o, n in zip(kept, old, new, strict=True))
        # `where`, not a factor, as `reference.unroll` has it: beyond its end a row may hold NaN.
        y = torch.where(mask[0], new[0], 0.0) if mask else new[0]
        new = tuple(torch.where(mask[0], n, o) for n, o in zip(new, old, strict=True)) if mask else new
        # The operator forbids that a result is an input, or two results one tensor.
        return [*(part.clone() for part in new), y.clone()]

    sequences = [x, *products, *masks, *(hold for hold in holds if isinstance(hold, Tensor))]
    # With gaps between their rows Inductor copies them whole at each step: 22 times the time of our kernel at T = 100.
    sequences = [each.contiguous() for each in sequences]
    # A state may be expanded or a part of another tensor, and what the body returns is not: torch compares strides.
    start = [part.contiguous() for part in state]
    if leaves_for_onnx():  # which knows no gradients, and torch's exporter would derive the body's again and again
        start, sequences, weights = ([t.detach() for t in each] for each in (start, sequences, weights))
    *final, outputs = scan_op(body, start, sequences, (*batch, *weights))
    return outputs, tuple(final)


def _refuse_effects(cell: Cell) -> None:
    """A graph computes the same at each step, for good."""
    found = look_at(cell)
    if isinstance(found, str) and found == look_of(cell).effect:
        raise ExportError(f"{type(cell).__name__} cannot be exported: {found}")

"""The native path: a layer by kernels compiled from its cell's step, for any cell that compiles."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.backends import Sequences, backend_of
from gateflow.cells import Cell
from gateflow.compiler import Step
from gateflow.errors import BuildError, ShapeError
from gateflow.recurrence.autograd import recurrence
from gateflow.recurrence.captured import products_of, step_for, step_of
from gateflow.recurrence.layout import Layout, layout_of
from gateflow.recurrence.saved_tensors import resolved

__all__ = ["histories", "run"]

State = tuple[Tensor, ...]
Zoneout = tuple[Tensor | float, ...]


def run(
    step: Step | str,
    cells: tuple[Cell, ...],
    x: Tensor,
    states: tuple[State, ...],
    lengths: Tensor | None,
    zoneout: tuple[Zoneout, ...] | None = None,
    memory: str = "fast",
) -> tuple[list[Tensor], list[State]]:
    """Runs one layer, forward or in both directions, by its compiled loops.

    Args:
        step: the forward cell's.
        cells: the forward cell, and for a bidirectional layer the reverse cell.
        x: input `[T, B, I]`.
        states: for each direction the state before its first step.
        lengths: `[B]`, each from 0 to `T`; none if all rows are `T` long.
        zoneout: for each direction what `reference.unroll` takes.
        memory: "fast" keeps all that the backward pass needs; "lean" the states alone, and computes the rest again.

    Returns:
        For each direction the output `[T, B, size]` and the final state.

    Raises:
        BuildError: a kernel cannot be built, or the step of the reverse cell cannot be compiled.
        ShapeError: input, weights and start states are not on one device or, without autocast, not of one dtype; a
            weight does not have its shape.
    """
    products, given = products_of(x.device, x.dtype), x.dtype
    if products:  # the factors of products are rounded inside; states and sums are fp32
        x, states = x.float(), tuple(tuple(part.float() for part in state) for state in states)
    x, layout = resolved(x), layout_of(x, lengths)
    lines, outputs, finals = layout.lines(x), [], []
    for d, (cell, state) in enumerate(zip(cells, states, strict=True)):
        held = zip(zoneout[d], state, strict=True) if zoneout else ()
        holds = [_hold(layout, hold, part, lines, reverse=d == 1) for hold, part in held]
        own = step if d == 0 else _step_of_reverse(cell, zoneout=zoneout is not None)
        if isinstance(own, Step) and own.drops:
            holds += [_hold(layout, mask, mask, lines, reverse=d == 1) for mask in own.masks(x).values()]
        # A transposed weight was once read as plain rows: wrong numbers without a word
        # (`test_weights_may_lie_in_memory_as_they_like`).
        named = {name: w for name, w in cell._parameters.items() if w is not None}
        derived = own.made_of(named) if isinstance(own, Step) and own.derived else ()
        weights = [(w.float() if products else w).contiguous() for w in (*named.values(), *derived)]
        start = [layout.sorted(resolved(part)).contiguous() for part in state]
        _refuse_mixed(x, weights, start)
        # Where nobody asks for a gradient, nothing is kept and autograd is left out.
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *start))
        kept = memory if keep else "nothing"
        # The loops of the backward pass too: there is no other path left once the forward pass has run.
        _refuse_unbuilt(own, kept, lines, products)
        made = recurrence(own, lines, weights, start, holds, layout.offsets, d == 1, products, kept)
        y, *final = [part.to(given) for part in made] if products else made
        outputs.append(layout.padded(y))
        finals.append(tuple([layout.unsorted(part) for part in final]))
    return outputs, finals


def _step_of_reverse(cell: Cell, *, zoneout: bool) -> Step | str:
    # The layer's path was chosen by its forward cell; the reverse cell may read other attributes
    # (`test_the_reverse_cell_may_come_to_need_the_loop`).
    step, refusal = step_of(cell, zoneout=zoneout)
    if step is None:
        raise BuildError(f"the cell of the reverse direction: {refusal}")
    return step


def histories(cell: Cell, x: Tensor, state: State) -> State | None:
    """Every part of the state after each step, `[T, B, size]`, without gradients; none where the loops cannot run.

    Args:
        cell: the equations and weights.
        x: input `[T, B, I]`.
        state: the parts of the state before the first step, `[B, size]`.

    Example:
        >>> from gateflow.cells import LSTM
        >>> h, c = histories(LSTM(3, 4), torch.zeros(5, 2, 3), (torch.zeros(2, 4), torch.zeros(2, 4)))
        >>> c.shape
        torch.Size([5, 2, 4])
    """
    weights = {n: w.detach().contiguous() for n, w in cell._parameters.items() if w is not None}
    one_dtype = {t.dtype for t in (x, *state, *weights.values())} == {x.dtype}
    step, _ = step_for(cell, zoneout=False, device=x.device, dtype=x.dtype)
    if not one_dtype or not isinstance(step, Step) or step.drops:
        return None
    backend = backend_of(x.device)
    assert backend is not None  # else there would be no step
    derived = [w.contiguous() for w in step.made_of(weights)]
    weights = dict(zip(step.cell.weights, [*weights.values(), *derived], strict=True))
    run = Sequences(step, layout_of(x, None).lines(x.detach()), weights, [part.detach().contiguous() for part in state])
    return tuple(lines.view(*x.shape[:2], -1) for lines in backend.forward(run, keep=False).histories)


def _hold(layout: Layout, hold: Tensor | float, part: Tensor, lines: Tensor, *, reverse: bool) -> Tensor:
    """How much of a part of the state zoneout keeps at each line; its masks follow the cell's order of time."""
    if isinstance(hold, Tensor):
        # A mask has the dtype of the state as the layer has it, bfloat16 where the loops compute in float32.
        return layout.lines(layout.time_reversed(hold) if reverse else hold).to(lines.dtype)
    # One line that stands for all: a number is the same at every step.
    return lines.new_full((1, part.shape[1]), hold).expand(lines.shape[0], -1)


def _refuse_unbuilt(step: Step | str, kept: str, x: Tensor, products: torch.dtype | None) -> None:
    """Whatever is wrong with the compiler, the cache or the text of a kernel is known before anything has been run.

    Raises:
        BuildError: one of the loops that this call needs cannot be built.
    """
    backend = backend_of(x.device)
    if isinstance(step, Step) and backend is not None:
        problem = backend.obstacle_to(step, kept, x.dtype, products)
        if problem is not None:
            raise BuildError(problem)


def _refuse_mixed(x: Tensor, weights: list[Tensor], start: list[Tensor]) -> None:
    dtype, device = x.dtype, x.device
    if all(t.dtype is dtype and t.device == device for t in (*weights, *start)):
        return
    devices = {t.device.type for t in (x, *weights, *start)}
    if len(devices) > 1:
        found = " and ".join(sorted(devices))
        raise ShapeError(f"input, weights and start states must be on one device, found {found}; move them with .to()")
    found = {str(t.dtype).removeprefix("torch.") for t in (x, *weights, *start)}
    # The kernels read addresses by one dtype; mixed ones were read as if they were float32.
    if len(found) > 1 and not torch.is_autocast_enabled(device.type):
        raise ShapeError(f"input, weights and start states must be of one dtype, found {' and '.join(sorted(found))}")

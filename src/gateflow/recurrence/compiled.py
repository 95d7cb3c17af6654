"""The native path of a layer: sequences laid out as the compiled loops want them, for any cell that compiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import has_torch_function

from gateflow.cells import Cell
from gateflow.compiler import Step, is_name, is_shipped, look_at, look_of
from gateflow.compiler.build import toolchain
from gateflow.errors import BuildError, ShapeError
from gateflow.recurrence import reference
from gateflow.recurrence.autograd import recurrence, resolved
from gateflow.recurrence.native import Sequences

__all__ = ["histories", "run", "step_for", "step_of", "transformed"]

State = tuple[Tensor, ...]
Zoneout = tuple[Tensor | float, ...]
Found = tuple[Step | str | None, str | None]
"""A step, or none and why."""
_LOOPS = {"nothing": ("infer",), "fast": ("train",), "lean": ("infer", "recompute", "backward")}
"""The loops that a call needs, and its way back, by what is kept; `train` is built together with `backward`."""
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def step_for(cell: Cell, *, zoneout: bool, device: torch.device, dtype: torch.dtype) -> Found:
    """The captured step that runs a cell, or why the compiled loops cannot."""
    if device.type != "cpu":
        return None, f"kernels are built for CPUs, the input is on {device}"
    if not torch.compiler.is_compiling() and has_torch_function(tuple(cell._parameters.values())):
        return None, "the weights are of a class that wants to see every operation of torch"
    if torch._C._get_tracing_state() is not None:
        return None, "torch.jit.trace is at work, whose graphs hold torch's own operations"
    if dtype not in DTYPES:
        found = str(dtype).removeprefix("torch.")
        return None, f"kernels compute in float32, float64 and bfloat16, the input is {found}"
    step, refusal = step_of(cell, zoneout=zoneout)
    obstacle = refusal or transformed() or _no_compiler() or _rounded_by_torch(cell, step, zoneout, dtype)
    return (step, None) if obstacle is None else (None, obstacle)


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
            if type(value) is float and name not in seen and value != look.number_now(name):
                raise RuntimeError(f"{name} has changed while torch compiled {type(cell).__name__}")
            seen.add(name)


def _let_dynamo_read(cell: Cell) -> None:
    """Traces one step whose result nobody uses, so that torch's compiler guards all that the step reads."""
    if not is_shipped(cell):
        like = next(w for w in cell._parameters.values() if w is not None)
        x = like.new_zeros(1, cell.input_size)
        with torch.no_grad():
            cell.bind().advance(x, cell.initial_state(x))


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
        memory: "fast" keeps all that the way back needs; "lean" the states alone, and computes the rest again.

    Returns:
        For each direction the output `[T, B, size]` and the final state.

    Raises:
        BuildError: a kernel cannot be built, or the reverse cell has come to compute what cannot be compiled.
        ShapeError: input, weights and start states are not on one device or, without autocast, not of one dtype; a
            weight does not have its shape.
    """
    rounded, given = _in_bf16(x), x.dtype
    if rounded:  # the factors of products are rounded inside; states and sums are fp32
        x, states = x.float(), tuple(tuple(part.float() for part in state) for state in states)
    x, states = resolved(x), tuple(tuple(map(resolved, state)) for state in states)
    layout = _Plain(x.shape[0], x.shape[1]) if lengths is None else _Ragged.of(lengths, x.shape[0])
    lines, outputs, finals = layout.lines(x), [], []
    for d, (cell, state) in enumerate(zip(cells, states, strict=True)):
        held = zip(zoneout[d], state, strict=True) if zoneout else ()
        holds = [_hold(layout, hold, part, lines, reverse=d == 1) for hold, part in held]
        own, refusal = (step, None) if d == 0 else step_of(cell, zoneout=zoneout is not None)
        if own is None:
            raise BuildError(f"the cell of the reverse direction: {refusal}")
        weights = [(w.float() if rounded else w).contiguous() for w in cell._parameters.values() if w is not None]
        start = [layout.sorted(part).contiguous() for part in state]
        _refuse_mixed(x, weights, start)
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *start))
        kept = memory if keep else "nothing"
        _refuse_unbuilt(own, kept, lines.dtype, rounded)
        made = recurrence(own, lines, weights, start, holds, layout.offsets, d == 1, rounded, kept)
        made = [part.to(given) for part in made[: 2 * len(start)]] if rounded else made
        outputs.append(layout.padded(made[0]))
        finals.append(tuple(layout.unsorted(part) for part in made[len(start) : 2 * len(start)]))
    return outputs, finals


def histories(cell: Cell, x: Tensor, state: State) -> State | None:
    """Every part of the state after each step, `[T, B, size]`, apart from autograd; none where the loops cannot run.

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
    if not one_dtype or not isinstance(step, Step):
        return None
    lines = _Plain(*x.shape[:2]).lines(x.detach())
    run = Sequences(step, lines, weights, [part.detach().contiguous() for part in state])
    return tuple(lines.view(*x.shape[:2], -1) for lines in run.forward(keep=False)[0])


@dataclass(frozen=True)
class _Plain:
    """All samples have the same length: steps follow each other as they are."""

    steps: int
    samples: int
    offsets = None

    def lines(self, x: Tensor) -> Tensor:
        lines = x.reshape(self.steps * self.samples, x.shape[2])
        return lines if lines.stride(1) == 1 else lines.contiguous()

    def padded(self, lines: Tensor) -> Tensor:
        return lines.view(self.steps, self.samples, lines.shape[1])

    def sorted(self, part: Tensor) -> Tensor:
        return part

    unsorted = sorted

    def turned(self, x: Tensor) -> Tensor:
        return x.flip(0)


@dataclass(frozen=True)
class _Ragged:
    """Samples sorted by falling length, their steps without gaps."""

    steps: int
    lengths: Tensor
    order: Tensor
    back: Tensor
    offsets: Tensor
    taken: Tensor

    @classmethod
    def of(cls, lengths: Tensor, steps: int) -> _Ragged:
        falling, order = lengths.sort(descending=True, stable=True)
        valid = torch.arange(steps)[:, None] < falling
        counts = valid.sum(1)
        sample = valid.nonzero()
        taken = sample[:, 0] * len(order) + order[sample[:, 1]]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(steps, lengths, order, order.argsort(), offsets, taken)

    def lines(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, self.taken)

    def padded(self, lines: Tensor) -> Tensor:
        full = lines.new_zeros(self.steps * len(self.order), lines.shape[1])
        return full.index_copy_(0, self.taken, lines).view(self.steps, len(self.order), lines.shape[1])

    def sorted(self, part: Tensor) -> Tensor:
        return part.index_select(0, self.order)

    def unsorted(self, part: Tensor) -> Tensor:
        return part.index_select(0, self.back)

    def turned(self, x: Tensor) -> Tensor:
        return reference.reverse(x, self.lengths)


def _hold(layout: _Plain | _Ragged, hold: Tensor | float, part: Tensor, lines: Tensor, *, reverse: bool) -> Tensor:
    """How much of a part of the state zoneout keeps at each line; its masks follow the cell's order of time."""
    if isinstance(hold, Tensor):
        return layout.lines(layout.turned(hold) if reverse else hold)
    return lines.new_full((1, part.shape[1]), hold).expand(lines.shape[0], -1)


def _in_bf16(x: Tensor) -> bool:
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.dtype == torch.bfloat16 or (autocast and x.dtype == torch.float32)


def _refuse_unbuilt(step: Step | str, kept: str, dtype: torch.dtype, rounded: bool) -> None:
    """Whatever is wrong with the compiler, the cache or the text of a kernel is known before anything has been run.

    Raises:
        BuildError: one of the loops that this call needs cannot be built.
    """
    if not isinstance(step, Step):
        return
    for loop in _LOOPS[kept]:
        problem = step.cell.kernel.obstacle(loop, dtype, torch.bfloat16 if rounded else None)
        if problem is not None:
            raise BuildError(problem)


def _refuse_mixed(x: Tensor, weights: list[Tensor], start: list[Tensor]) -> None:
    devices = {t.device.type for t in (x, *weights, *start)}
    if len(devices) > 1:
        found = " and ".join(sorted(devices))
        raise ShapeError(f"input, weights and start states must be on one device, found {found}; move them with .to()")
    found = {str(t.dtype).removeprefix("torch.") for t in (x, *weights, *start)}
    if len(found) > 1 and not torch.is_autocast_enabled("cpu"):
        raise ShapeError(f"input, weights and start states must be of one dtype, found {' and '.join(sorted(found))}")


def transformed() -> str | None:
    """The transforms of `torch.func` and forward-mode derivatives want operations they can see into."""
    if torch.compiler.is_compiling():
        return None
    if torch._C._functorch.peek_interpreter_stack() is not None:  # pyright: ignore[reportAttributeAccessIssue]
        return "a transform of torch.func is at work, which needs to see every operation"
    return "forward-mode differentiation needs to see every operation" if forward_ad._current_level >= 0 else None


@torch.compiler.assume_constant_result
def _no_compiler() -> str | None:
    try:
        toolchain()
    except BuildError as problem:
        return str(problem)
    return None

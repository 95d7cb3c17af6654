"""Which path runs a layer, and why; never a silent fallback."""

from __future__ import annotations

import contextlib
import contextvars
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gateflow.backends import backend_of
from gateflow.cells import Cell
from gateflow.compiler import Step, look_at
from gateflow.errors import BuildError, ExportError, PathError, ReferencePathWarning, among
from gateflow.recurrence import native, onnx_operators, reference, scan, vendor
from gateflow.recurrence.captured import products_of, step_for, transformed
from gateflow.recurrence.leaving import leaves_for_onnx, leaves_python

__all__ = ["PATHS", "Choice", "choose", "force_path", "path_is_forced", "prepare", "run_layer"]

State = tuple[Tensor, ...]
Zoneout = tuple[Tensor | float, ...]

# Native before vendor: one path then has every option (zoneout, lean memory, any lengths), and one set of tests.
PATHS = ("native", "vendor", "reference")
_CPU = torch.device("cpu")
# Cells on the reference loop, each with the reason, of which a warning was shown in this process.
told: set[tuple[str, str]] = set()
# Of the context, so that a block in one thread forces nothing in another.
_forced: contextvars.ContextVar[str | None] = contextvars.ContextVar("forced_path", default=None)


@dataclass(frozen=True)
class Choice:
    """A path and the reason for it."""

    path: str
    reason: str
    step: Step | str | None = field(default=None, repr=False)
    """The captured step on the native path; its name, while torch compiles."""


@contextlib.contextmanager
def force_path(path: str) -> Iterator[None]:
    """Within the block every layer runs on this path, or raises `PathError`; no warning for the reference.

    Args:
        path: "native" (compiled from the cell's equations), "vendor" (torch's kernels) or "reference" (the loop).

    Example:
        >>> import torch, gateflow
        >>> layer = gateflow.LSTM(3, 4)
        >>> with force_path("reference"):
        ...     y, _ = layer(torch.zeros(5, 2, 3))
    """
    if path not in PATHS:
        raise PathError(f"no path is called {path!r}; {among(path, PATHS)}")
    token = _forced.set(path)
    try:
        yield
    finally:
        _forced.reset(token)


def choose(
    cell: Cell,
    *,
    zoneout: bool = False,
    device: torch.device = _CPU,
    dtype: torch.dtype = torch.float32,
    samples: int | None = None,
    memory: str = "fast",
) -> Choice:
    """The path for a cell under what matters to it: native where it can, else torch's kernel, else the reference.

    Torch's kernel goes first where it was measured to be faster.

    Args:
        cell: the equations.
        zoneout: whether parts of the old state stay.
        device, dtype: where and what the input is.
        samples: of the batch, if it is known.
        memory: what the native path keeps for the backward pass.
    """
    forced = _demanded()
    if forced == "reference":
        return Choice("reference", "force_path")
    found = {}
    if forced is None and (faster := _faster_elsewhere(cell, zoneout, device, dtype, samples, memory)):
        return Choice("vendor", f"{_computed_by(cell)} and {faster}")
    if forced in (None, "native"):
        step, found["native"] = step_for(cell, zoneout=zoneout, device=device, dtype=dtype)
        if step is not None:
            return Choice("native", "compiled from its step", step)
    if forced in (None, "vendor"):
        found["vendor"] = _vendor_obstacle(cell, zoneout=zoneout)
        if found["vendor"] is None:
            return Choice("vendor", _computed_by(cell))
    if forced is not None:
        raise PathError(f"{type(cell).__name__} cannot run on the {forced} path: {found[forced]}")
    return Choice("reference", "; ".join(found.values()))


def _faster_elsewhere(
    cell: Cell, zoneout: bool, device: torch.device, dtype: torch.dtype, samples: int | None, memory: str
) -> str | None:
    """Why torch's kernel is taken although the native path could run, in words."""
    # Torch's compiler leaves its graph for torch's kernels, and ours are in it.
    if torch.compiler.is_compiling():
        return None
    backend = backend_of(device)
    # What torch's kernels cannot do is never taken from them.
    if backend is None or not backend.is_compared or memory != "fast" or _vendor_obstacle(cell, zoneout=zoneout):
        return None
    products, name = products_of(device, dtype), type(cell).__name__
    if products is None and dtype not in backend.dtypes:
        return None
    return backend.faster_elsewhere(device, name, cell.hidden_size, samples, products)


def _without_kernel(cell: Cell, *, zoneout: bool, problem: BuildError) -> Choice:
    """The path for a cell whose kernel turns out not to be built: what is left of them."""
    if _demanded() == "native":
        raise PathError(f"{type(cell).__name__} cannot run on the native path: {problem}") from problem
    obstacle = _vendor_obstacle(cell, zoneout=zoneout)
    return Choice("vendor", _computed_by(cell)) if obstacle is None else Choice("reference", f"{problem}; {obstacle}")


def path_is_forced() -> bool:
    """Whether this is inside a `force_path` block.

    Example:
        >>> path_is_forced()
        False
    """
    return _forced.get() is not None


def prepare(cell: Cell, *, zoneout: bool) -> None:
    """Looks at a cell's step beforehand, so that `torch.compile`, which cannot, finds it done."""
    look_at(cell, zoneout=zoneout)


def _demanded() -> str | None:
    """What `force_path` demands. `torch.compile` cannot look, and takes the path that is chosen without."""
    return None if torch.compiler.is_compiling() else _forced.get()


def _computed_by(cell: Cell) -> str:
    kernel = vendor.kernel_of(cell)
    return f"torch.{getattr(kernel, '__name__', kernel)} computes the same equations"


def run_layer(
    cells: tuple[Cell, ...],
    x: Tensor,
    states: tuple[State, ...],
    lengths: Tensor | None = None,
    *,
    zoneout: tuple[Zoneout, ...] | None = None,
    memory: str = "fast",
    strict: bool = False,
) -> tuple[list[Tensor], list[State]]:
    """Runs one layer, one cell per direction, over time.

    Args:
        cells: the forward cell, and for a bidirectional layer the reverse cell.
        x: input `[T, B, I]`, zero where a row has ended.
        states: for each direction the state before its first step.
        lengths: `[B]` on the device of `x`, each from 0 to `T`; none if all rows are `T` long.
        zoneout: for each direction what `reference.unroll` takes.
        memory: "fast" or "lean", what the native path keeps for the backward pass.
        strict: whether falling back to the reference is an error.

    Returns:
        For each direction the output `[T, B, size]` and the final state.

    Raises:
        PathError: the reference loop is all there is and `strict` forbids it.
    """
    if leaves_python():
        return _leaving(cells, x, states, lengths, zoneout)
    # By the forward cell; `native.run` looks at the reverse one, which may have other attributes.
    step, choice = _native_step(cells[0], zoneout is not None, x, memory), None
    if step is not None:
        try:
            return native.run(step, cells, x, states, lengths, zoneout, memory)
        # Whatever is wrong with a compiler or the cache leads to the next path and one warning, never out of a call.
        except BuildError as problem:
            choice = _without_kernel(cells[0], zoneout=zoneout is not None, problem=problem)
    place = {"device": x.device, "dtype": x.dtype, "samples": x.shape[1], "memory": memory}
    choice = choice or choose(cells[0], zoneout=zoneout is not None, **place)
    if choice.path == "vendor":
        return vendor.run(cells, x, states, lengths)
    if _demanded() is None:
        _tell(type(cells[0]).__name__, choice.reason, strict)
    filled = x if lengths is None else reference.filled(x, lengths)
    return _step_by_step(reference.unroll, cells, filled, states, lengths, zoneout)


def _native_step(cell: Cell, zoneout: bool, x: Tensor, memory: str) -> Step | str | None:
    """What `choose` finds first, without the reasons that a call does not need."""
    if _demanded() not in (None, "native"):
        return None
    if _demanded() is None and _faster_elsewhere(cell, zoneout, x.device, x.dtype, x.shape[1], memory):
        return None
    return step_for(cell, zoneout=zoneout, device=x.device, dtype=x.dtype)[0]


def _leaving(
    cells: tuple[Cell, ...],
    x: Tensor,
    states: tuple[State, ...],
    lengths: Tensor | None,
    zoneout: tuple[Zoneout, ...] | None,
) -> tuple[list[Tensor], list[State]]:
    """One layer in operators that are there without gateflow."""
    if torch.compiler.is_dynamo_compiling():
        raise ExportError("gateflow.export.portable() is for torch.export.export with strict=False, its default")
    if zoneout is None and leaves_for_onnx() and onnx_operators.equivalent_of(cells, x) is not None:
        return onnx_operators.run(cells, x, states, lengths)
    return _step_by_step(scan.unroll, cells, x, states, lengths, zoneout)


def _step_by_step(
    unroll: Callable[..., tuple[Tensor, State]],
    cells: tuple[Cell, ...],
    x: Tensor,
    states: tuple[State, ...],
    lengths: Tensor | None,
    zoneout: tuple[Zoneout, ...] | None,
) -> tuple[list[Tensor], list[State]]:
    valid = None if lengths is None else (torch.arange(x.shape[0], device=x.device)[:, None] < lengths)[:, :, None]
    outputs, finals = [], []
    for d, (cell, state) in enumerate(zip(cells, states, strict=True)):
        # Each row turned within its own length: the reverse cell begins at its last step, not at padding.
        ordered = reference.reverse(x, lengths) if d else x
        y, final = unroll(cell, ordered, state, valid=valid, zoneout=zoneout[d] if zoneout else None)
        outputs.append(reference.reverse(y, lengths) if d else y)
        finals.append(final)
    return outputs, finals


def _vendor_obstacle(cell: Cell, *, zoneout: bool) -> str | None:
    if vendor.kernel_of(cell) is None:
        return f"torch has no kernel with the equations of {type(cell).__name__}"
    return "torch's kernels have no zoneout" if zoneout else transformed()


def _tell(name: str, reason: str, strict: bool) -> None:
    if strict:
        raise PathError(f"{name} would run on the reference loop, which strict=True forbids: {reason}")
    if torch.compiler.is_dynamo_compiling():
        # What a trace reads and changes it guards: a second compilation, for the sake of one message.
        warnings.warn(_slow(name, reason), ReferencePathWarning, stacklevel=2)
    # Not left to Python's memory of what was shown, which every `warnings.catch_warnings` of torch's clears.
    elif (name, reason) not in told:
        warnings.warn(_slow(name, reason), ReferencePathWarning, stacklevel=2)
        if not _ignored(_slow(name, reason)):
            told.add((name, reason))


def _slow(name: str, reason: str) -> str:
    return f"{name} runs on the reference loop, right but slow: {reason}"


def _ignored(text: str) -> bool:
    """Whether nobody has seen the warning: within a block of somebody else's that ignores all, say."""
    for action, message, category, _, _ in warnings.filters:
        if issubclass(ReferencePathWarning, category) and (message is None or re.match(message, text)):
            return action == "ignore"
    return False

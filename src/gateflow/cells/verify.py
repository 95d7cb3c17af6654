"""What is refused when a cell is made or built, with the file and line of the user's code."""

from __future__ import annotations

import inspect
import keyword
import traceback
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gateflow.errors import CellError

__all__ = ["check_class", "check_instance"]

# `cell.py` imports this module, since a class is checked while it is made: to know its type here would be a cycle.
Cell: TypeAlias = Any

# The order in which their rows lie in the fused weights, states aside.
DECLARATIONS = ("states", "gates", "inputs", "matrices", "diagonals", "norms")
# Frames of these are passed over: what helps the user is the last line of their own code.
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def check_class(cls: type[Cell], base: type[Cell]) -> None:
    """Refuses a class whose names or step signature do not hold together. Runs when the class statement runs."""
    for kind in DECLARATIONS:
        names = getattr(cls, kind)
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise _refusal(cls, f'`{kind}` must be a tuple of names such as ("h",), found {names!r}')
        # A list could still change after it was checked, for this class and its subclasses.
        setattr(cls, kind, tuple(names))
    if not cls.states:
        raise _refusal(cls, 'no states; name at least one, for example `states = ("h",)`')
    _refuse_names(cls, base)
    _refuse_signature(cls)
    for gate in cls.keeps:
        if gate not in cls.gates + cls.inputs:
            raise _refusal(cls, f"`keeps` names {gate!r}, which is not among the gates {cls.gates + cls.inputs}")


def check_instance(cell: Cell) -> None:
    """Tries one step of a new cell and refuses what is wrong with it. Draws nothing from the caller's generator."""
    if list(cell.buffers()) or any(list(child.parameters()) for child in cell.children()):
        raise CellError(
            f"{_class_place(type(cell))}: a cell holds no buffers and no modules with weights of their own, since its "
            "layer owns all weights; declare gates, matrices, norms or diagonals"
        )
    # A layer that is built in inference mode may be trained later, and the trial needs a graph; a tensor of that mode
    # cannot enter one, hence the clones. No devices: to fork their generators would start CUDA.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.enable_grad():
        weights = {
            n: (p.clone() if p.is_inference() else p.detach()).requires_grad_() for n, p in cell.named_parameters()
        }
        trial = cell.over(weights).bind()
        vars(trial).pop("_origin")  # what a step sets is of the trial
        new = _try_step(trial)
        _refuse_result(cell, new)
        _refuse_unused(trial, weights, new)


def _refuse_names(cls: type[Cell], base: type[Cell]) -> None:
    taken: dict[str, str] = {}
    for kind in DECLARATIONS:
        for name in getattr(cls, kind):
            if not name.isidentifier() or keyword.iskeyword(name):
                raise _refusal(cls, f"{name!r} in `{kind}` is not a usable Python name")
            own = ("x", "dt", "bias", "input_size", "hidden_size")
            if hasattr(base, name) or hasattr(nn.Module, name) or name in own:
                raise _refusal(cls, f"{name!r} in `{kind}` is a name that every cell has already; choose another")
            # A state that is named twice has a message of its own, below.
            if name in taken and kind != "states":
                raise _refusal(cls, f"two parts are called {name!r}, in `{taken[name]}` and in `{kind}`")
            taken[name] = kind
    if len(set(cls.states)) < len(cls.states):
        raise _refusal(cls, f"`states` names one state twice: {cls.states}")


def _refuse_signature(cls: type[Cell]) -> None:
    step = getattr(cls, "step", None)
    wanted = f"def step(self, x, {', '.join(cls.states)})"
    cls.takes_dt = False
    if step is None:
        raise _refusal(cls, f"no step; write `{wanted}`")
    found = list(inspect.signature(step).parameters)
    cls.takes_dt = found == ["self", "x", "dt", *cls.states]
    cls._dt_columns = int(cls.takes_dt)
    wanted = wanted.replace("(self, x", "(self, x, dt") if "dt" in found else wanted
    if found != ["self", "x", *cls.states] and not cls.takes_dt:
        raise CellError(f"{_place(step)}: step takes ({', '.join(found)}); with states {cls.states} write `{wanted}`")


def _try_step(trial: Cell) -> Any:
    reference = next(iter(trial._parameters.values()))
    assert reference is not None
    # Two rows: with one, a state of shape [H] or [1, H] would pass for [B, H].
    x = torch.zeros(2, trial.row_size, device=reference.device, dtype=reference.dtype)
    try:
        return trial.advance(x, trial.initial_state(x))
    except CellError:
        raise
    # Whatever the user's code raises is told with the user's line.
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARIES)]
        frame = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        shapes = f"x [2, {trial.input_size}], " + ", ".join(f"{n} [2, {s}]" for n, s in trial.state_sizes.items())
        raise CellError(
            f"{frame.filename}:{frame.lineno}: one step of {type(trial).__name__} with {shapes} failed at "
            f"`{frame.line}`: {type(error).__name__}: {error}"
        ) from error


def _refuse_result(cell: Cell, new: Any) -> None:
    where, parts = _place(type(cell).step), new if isinstance(new, tuple) else (new,)
    if len(parts) != len(cell.states) or not all(isinstance(part, Tensor) for part in parts):
        found = f"{len(parts)} of {[type(part).__name__ for part in parts]}"
        raise CellError(
            f"{where}: step must return one tensor per state, {', '.join(cell.states)} in this order; "
            f"it returned {found}"
        )
    for part, (name, size) in zip(parts, cell.state_sizes.items(), strict=True):
        if part.shape != (2, size):
            raise CellError(
                f"{where}: step returns state {name!r} with shape {list(part.shape)} where [B, {size}] = [2, {size}] "
                "is needed; check its broadcasting and its sizes"
            )


def _refuse_unused(trial: Cell, weights: dict[str, Tensor], new: Any) -> None:
    """A part that no returned state depends on could never learn, so it is a slip of the pen."""
    # Autograd is asked; calls are not watched: a gate that is called and whose result is dropped is a slip too.
    total = sum((part.sum() for part in (new if isinstance(new, tuple) else (new,))), start=torch.zeros(()))
    parts: dict[str, list[Tensor]] = {}
    for name, gate in trial.__dict__.items():
        if name in type(trial).gates:
            # Both halves: a gate of which only `input` is used should be declared in `inputs`.
            parts[f"gate {name!r}"] = [gate.weight_ih, gate.weight_hh]
        elif name in type(trial).inputs:
            parts[f"input {name!r}"] = [gate.weight]
    parts |= {
        f"weight {name!r}": [tensor]
        for name, tensor in weights.items()
        if name not in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    for name, tensors in parts.items():
        for tensor in tensors:
            if (
                not total.requires_grad
                or torch.autograd.grad(total, tensor, retain_graph=True, allow_unused=True)[0] is None
            ):
                raise CellError(
                    f"{_place(type(trial).step)}: {name} of {type(trial).__name__} is declared but no returned state "
                    "depends on all of it; use it in step, or declare it as what is used (`inputs`, `matrices`)"
                )


def _refusal(cls: type, problem: str) -> CellError:
    # Only now: finding the line of a class parses its file, a tenth of a second for the cells that come along.
    return CellError(f"{_class_place(cls)}: {problem}")


def _class_place(cls: type) -> str:
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}: {cls.__name__}"
    except (OSError, TypeError):
        # Not readable yet while a class statement runs in some shells: the caller's line is the next best place.
        frame = next((f for f in reversed(traceback.extract_stack()) if not f.filename.startswith(_LIBRARIES)), None)
        return f"{frame.filename}:{frame.lineno}: {cls.__name__}" if frame else cls.__name__


def _place(function: Any) -> str:
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"

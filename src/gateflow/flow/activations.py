"""The values of a cell's gates on all steps of a run, named by the gate whose sum each squashes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gateflow.cells import Cell
from gateflow.flow.adjoint import Tape, record
from gateflow.flow.capture import Replay
from gateflow.flow.table import plain

__all__ = ["Activation", "HeldGates", "activations_of", "intermediates_of", "squashed_gates"]

# A hard sigmoid is 0 to 1 as well, and is saturated by the same measure; sLSTM has its forget gate as a logarithm.
_KINDS = {"sigmoid": "sigmoid", "hardsigmoid": "sigmoid", "log_sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu"}


@dataclass(frozen=True, eq=False)
class Activation:
    """What one gate did.

    Attributes:
        kind: "sigmoid", "tanh" or "relu".
        values: `[T, B, H]` in the order of time; NaN where a row has ended.
    """

    kind: str
    values: Tensor

    @property
    def mean(self) -> float:
        """Over steps, rows and units."""
        return float(self.values.nanmean())

    @property
    def by_step(self) -> Tensor:
        """`[T]`, over rows and units: the openness over the tokens."""
        return self.values.nanmean((1, 2)).cpu()

    @property
    def low(self) -> float:
        """Share below 0.1: closed, if it is a sigmoid; for tanh, below -0.95."""
        # 0.1 and 0.9 are Karpathy's (2015). At ±0.95 tanh has a
        # derivative of 0.0975, at 0.1 and 0.9 a sigmoid has 0.09.
        return self._share(self.values < (0.1 if self.kind == "sigmoid" else -0.95))

    @property
    def high(self) -> float:
        """Share above 0.9: open, if it is a sigmoid; for tanh, beyond 0.95 in either direction."""
        return self._share(self.values > 0.9 if self.kind == "sigmoid" else self.values.abs() > 0.95)

    @property
    def dead(self) -> float:
        """Share of units that are never above 0."""
        return float((self.values.nan_to_num() <= 0).flatten(0, 1).all(0).double().mean())

    def to_dict(self) -> dict[str, Any]:
        """Figures and the mean per step, without the single values."""
        shares = {"mean": self.mean, "low": self.low, "high": self.high, "dead": self.dead}
        return {"kind": self.kind, **shares, "by_step": plain(self.by_step)}

    def _share(self, which: Tensor) -> float:
        return float(which.sum() / self.values.isfinite().sum())


class _Squashed(TorchFunctionMode):
    """Writes down every sigmoid, tanh and ReLU: its kind, what it was given, what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value, name = func(*args, **(kwargs or {})), _squash(func, args)
        if name is not None:
            self.calls.append((_KINDS[name], args[0], value.exp() if name == "log_sigmoid" else value))
        return value


class HeldGates(TorchFunctionMode):
    """Within the block some squashes of a cell's step give other values than they would; see `squashed_gates`.

    Args:
        held: by the number of the call within the step what becomes of its value, a number from 0 to 1.
    """

    def __init__(self, held: Mapping[int, Callable[[Tensor], Tensor]]):
        super().__init__()
        self.held, self.count = held, -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value, name = func(*args, **(kwargs or {})), _squash(func, args)
        self.count += name is not None
        if name is None or self.count not in self.held:
            return value
        change = self.held[self.count]
        return change(value.exp()).log() if name == "log_sigmoid" else change(value)


def _squash(func: Any, args: Any) -> str | None:
    # By the function that runs, however the step spells
    # it: `torch.tanh`, `x.tanh()` and `x.tanh_()` are one.
    name = getattr(func, "__name__", "").rstrip("_")
    return name if name in _KINDS and args else None


class _Locals:
    """Keeps what a function calls its values, as it returns."""

    def __init__(self, function: Any):
        self.code, self.values = function.__code__, dict[str, Any]()

    def __enter__(self) -> _Locals:
        self.before = sys.getprofile()
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _see(self, frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is self.code:
            self.values = dict(frame.f_locals)


def intermediates_of(replay: Replay) -> dict[str, Tensor]:
    """Rows that the cell's step gives a name, beside its states and what it squashes: ``[T, B, size]`` each, in time.

    Such as the `m` of a multiplicative LSTM; equations have the names that stand in the step.
    """
    seen, squashed = _Locals(type(replay.cell).step), _Squashed()
    with contextlib.ExitStack() as watch:
        watch.enter_context(seen)
        watch.enter_context(squashed)
        record(replay, contextlib.nullcontext())
    # The squash of a gate is known by the gate's name already.
    known = {id(value) for _, _, value in squashed.calls}
    left_out = {"self", "x", "dt", *replay.cell.states}
    rows = replay.steps * replay.rows
    found = {
        name: value.detach().unflatten(0, (replay.steps, replay.rows))
        for name, value in seen.values.items()
        if isinstance(value, Tensor) and value.dim() == 2 and len(value) == rows and name not in left_out
        if id(value) not in known
    }
    return {name: value.flip(0) if replay.reversed else value for name, value in found.items()}


def squashed_gates(replay: Replay) -> list[tuple[str, str]]:
    """Gate and kind of each squash of the cell's step, in the order in which they are called; see `Activation`."""
    squashed = _Squashed()
    tape = record(replay, squashed)
    return [(_name(replay.cell, tape, given), kind) for kind, given, _ in squashed.calls]


def activations_of(replays: list[Replay]) -> dict[str, Activation]:
    """The activations of a cell over the replays of one sequence, in the order in which its step computes them."""
    runs = [_of_one(replay) for replay in replays]
    return {name: Activation(kind, torch.cat([run[name][1] for run in runs])) for name, (kind, _) in runs[0].items()}


def _of_one(replay: Replay) -> dict[str, tuple[str, Tensor]]:
    squashed = _Squashed()
    tape, found = record(replay, squashed), dict[str, tuple[str, Tensor]]()
    for kind, given, value in squashed.calls:
        steps = value.detach().unflatten(0, (replay.steps, replay.rows))
        if replay.valid is not None:
            steps = torch.where(replay.valid, steps, torch.nan)
        found[_name(replay.cell, tape, given)] = kind, steps.flip(0) if replay.reversed else steps
    return found


def _name(cell: Cell, tape: Tape, given: Tensor) -> str:
    """The gate whose sum this is: the derivative by its value is one. A function of several gates is the state."""
    calls = [call for call in tape.calls if call.name.removeprefix("norm_") in (*cell.gates, *cell.inputs)]
    if not given.requires_grad or not calls:
        return "state"
    zs = [call.z for call in calls]
    # `σ(z + p)` with a peephole `p` has a derivative of one
    # by `z`, and is still the gate's; `σ(z_1 · z_2)` has not.
    factors = torch.autograd.grad(given, zs, torch.ones_like(given), retain_graph=True, allow_unused=True)
    for call, factor in zip(calls, factors, strict=True):
        if given is call.z or (factor is not None and bool((factor == 1).all())):
            return call.name.removeprefix("norm_")
    used = [call for call, factor in zip(calls, factors, strict=True) if factor is not None]
    return used[0].name.removeprefix("norm_") if len(used) == 1 else "state"

"""Runs a cell's `step` on stand-ins for its tensors and writes down what it calls: the recording is what it computes.

    u * n + (1 - self.rate) * c      →      pattern  mul row 3 row 4 · sub number row 3 · …      numbers  (0.7,)

Whatever the step reads (attributes, globals, closures, other modules) has its effect on what is called, so two steps
with equal recordings compute the same, and one whose recording has changed computes something else. It takes some
microseconds and is done before every call of a layer.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from gateflow.cells import Cell
from gateflow.compiler.calls import SUPPORTED
from gateflow.compiler.stand_ins import PLACES, GateStandIn, MapStandIn, NormStandIn, StandIn, WeightStandIn, name_of
from gateflow.errors import UnsupportedStepError

__all__ = ["Call", "Declared", "Piece", "Place", "Recording", "is_number", "refusal"]

KNOWN = sum(map(len, SUPPORTED.values()))
_NUMBER = object()
"""Stands for a number in a pattern; its value is among the numbers."""
# No numbers: those are noted apart, since they may change from call to call.
_CONSTANTS = (bool, str, type(None), type(...), torch.dtype)


class Place(NamedTuple):
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {linecache.getline(self.file, self.line).strip()}"


class Call(NamedTuple):
    """One call of a step.

    `target` is a function, the name of a method, the weights of a product, a `Piece` of what gives several rows, or
    `("norm", name)`.
    """

    target: Any
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    place: Place | None


class Piece(NamedTuple):
    """One of the rows that a function such as `chunk` gives."""

    function: str
    k: int


class Declared(NamedTuple):
    """What a step finds by name: for each gate the weights of its halves, for each map one, norms, and vectors."""

    gates: Mapping[str, tuple[Any, Any]]
    maps: Mapping[str, Any]
    norms: Sequence[str]
    vectors: Sequence[str]
    weights: Sequence[str]


class Recording:
    """One run of a step on stand-ins.

    Args:
        cell: the equations; its weights are not looked at.
        declared: what the step finds by name.
        whole: whether to keep the calls, each with the user's line; else the pattern alone, which is quicker.

    Attributes:
        calls: what was called, in order, of a whole recording.
        pattern: all that was called and on which rows, but for the numbers; hashable.
        numbers: the numbers among the arguments, in order.
        new_states: the rows that the step returns.
        rows: the stand-ins of a whole recording: those of the step's arguments, then one for each call.
        changed: names of attributes that the step has set.

    Raises:
        UnsupportedStepError: the step does what stand-ins cannot, such as branching on a value.
    """

    def __init__(self, cell: Cell, declared: Declared, *, whole: bool = False):
        self.cell, self.whole, self.last_place = cell, whole, None
        self.calls, self._pattern, self._numbers = list[Call](), list[Any](), list[float]()
        self.refused: UnsupportedStepError | None = None
        self._mode = _mode()
        # Numbered as `_Lowering` of `capture.py` lists its nodes: input, states, vectors, then one for each call.
        rows = [StandIn(self, k) for k in range(1 + len(cell.states) + len(declared.vectors))]
        self.rows, self.count, given = list(rows) if whole else [], len(rows), 1 + len(cell.states)
        view = self._view(declared, dict(zip(declared.vectors, rows[given:], strict=True)))
        before = dict(vars(view)) if whole else {}
        try:
            step: Any = view.advance
            self.new_states = self._returned(step(rows[0], tuple(rows[1:given])))
        except UnsupportedStepError:
            raise
        # A step is a user's code and may raise anything (`CATCH_ALL` of `tests/test_house_rules.py`).
        except Exception as error:
            told = str(error).splitlines()[0] if str(error) else ""
            raise self.refused or refusal(cell, f"{type(error).__name__}: {told}", self.last_place) from error
        if self.refused is not None:  # the step has caught it
            raise self.refused
        # `_own` is written by `Cell.__setattr__` itself.
        self.changed = [n for n, v in vars(view).items() if whole and n != "_own" and before.get(n, view) is not v]
        self.pattern, self.numbers = tuple(self._pattern), tuple(self._numbers)

    def call(self, target: Any, args: Sequence[Any], options: Mapping[str, Any] = {}) -> StandIn:
        """Writes down a call; the stand-in for its result."""
        if self.whole:
            place = self.last_place = _users_line()
            self.calls.append(Call(target, tuple(args), options, place))
        self.check_mode()
        pattern = self._pattern
        pattern.append(target)
        # The pattern is flat: without the count, arguments of one call could pass for those of another.
        pattern.append(len(args))
        for argument in args:
            self._note(argument, target)
        for name, value in options.items():
            pattern.append(name)
            self._note(value, target)
        row = StandIn(self, self.count)
        self.count += 1
        if self.whole:
            self.rows.append(row)
        return row

    def pieces(self, name: str, args: Sequence[Any], options: Mapping[str, Any], count: int) -> tuple[StandIn, ...]:
        """Writes down a call that gives several rows."""
        return tuple([self.call(Piece(name, k), args, options) for k in range(count)])

    def check_mode(self) -> None:
        """Refuses a change of gradient mode or autocast within the step."""
        # Under `no_grad` torch cuts the gradient; the derivative of a graph would not.
        if _mode() != self._mode:
            raise self.refuse("a change of gradient mode or autocast (or an autograd.Function)")

    def refuse(self, found: str) -> UnsupportedStepError:
        """Why the step cannot be compiled, remembered, should the step catch it."""
        if self.refused is None:
            place = _users_line() if self.whole else None
            self.refused = refusal(self.cell, found, place or self.last_place)
        return self.refused

    def _note(self, value: Any, target: Any) -> None:
        kind = type(value)
        if kind is StandIn:
            if value.recording is not self:
                raise self.refuse("a value of an earlier step, kept outside of the state,")
            if value.index == PLACES:
                raise self.refuse("the places of the largest or smallest numbers of a row")
            self._pattern.append(value.index)
        elif kind is float:
            self._pattern.append(_NUMBER)
            self._numbers.append(float(value))
        elif kind in _CONSTANTS:
            # With its type, since `True` equals 1, which stands for row 1.
            self._pattern.append((kind, value))
        elif is_number(value):
            self._pattern.append(_NUMBER)
            self._numbers.append(float(value))
        elif kind is WeightStandIn:
            self._pattern.append(value.expression)
        elif kind in (tuple, list, slice, torch.Size):
            # With how many there are: the pattern is flat.
            parts = (value.start, value.stop, value.step) if kind is slice else value
            self._pattern += (kind, len(parts))
            for part in parts:
                self._note(part, target)
        elif isinstance(value, torch.Tensor):
            raise self.refuse("a tensor made outside of the step's arguments")
        else:
            raise self.refuse(f"`{name_of(target)}` with an argument of type {kind.__name__}")

    def _returned(self, new: tuple[Any, ...]) -> list[int]:
        if len(new) != len(self.cell.states) or not all(type(n) is StandIn and n.recording is self for n in new):
            raise self.refuse("a result that is no row of this step")
        rows = [n.index for n in new]
        self._pattern += rows
        return rows

    def _view(self, declared: Declared, vectors: dict[str, StandIn]) -> Cell:
        """The cell with stand-ins in place of its weights and leaves."""
        kind = type(self.cell)
        view = kind.__new__(kind)
        leaves: dict[str, Any] = {n: GateStandIn(self, *halves) for n, halves in declared.gates.items()}
        for name, weight in declared.maps.items():
            leaves[name] = MapStandIn(self, weight)
        for name in declared.norms:
            leaves[name] = NormStandIn(self, name)
        own = self.cell._parameters
        # Without `_origin` what the step sets stays in the view, where `changed` finds it, and not in the cell.
        held = {k: v for k, v in vars(self.cell).items() if k not in own and k not in ("_origin", "_owner")}
        # There for `getattr(cell, "bias_ih", None)`, and refused where a step computes with them
        # (`test_a_step_that_asks_for_its_weights_finds_them`).
        weights = {name: WeightStandIn(self, name) for name in declared.weights}
        vars(view).update(held, _parameters=weights, **vectors, **leaves)
        # Such hooks see gradients, which stand-ins have none of.
        if view._modules and any(m._backward_hooks or m._backward_pre_hooks for m in view.modules()):
            raise self.refuse("a hook on a backward pass")
        return view


def is_number(value: Any) -> bool:
    """Whether torch takes a value for a number: Python's, within 64 bits, and numpy's, but no truth value."""
    if isinstance(value, np.generic):
        return isinstance(value, np.integer | np.floating)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # torch raises for larger ones, and the loop does so with its words.
    return isinstance(value, float) or -(1 << 63) <= value < 1 << 63


def _mode() -> tuple[bool, bool, bool]:
    return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def refusal(cell: Cell, found: str, place: Place | None) -> UnsupportedStepError:
    """Why a step cannot be compiled, with the user's line."""
    where = str(place) if place else "its step"
    return UnsupportedStepError(
        f"{type(cell).__name__} cannot be compiled: found {found} at {where}. The compiler knows {KNOWN} functions and "
        "operators of torch, which `gateflow explain --operations` lists"
    )


def _users_line() -> Place | None:
    """File and line of the innermost `step` on the stack."""
    # 0 is this function and 1 `Recording.call`.
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "step":
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None

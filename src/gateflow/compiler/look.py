"""Which captured step a cell is now: a look at it before each call.

Before each use the step runs on stand-ins (`recording.py`), which takes some microseconds; if it calls what it called
before, its kernel is right, and the numbers among its arguments are given to the run. What else a step reads than its
tensors need not be known: it shows in what is called, or makes no difference.
"""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from gateflow import cells
from gateflow.cells import Cell
from gateflow.compiler.capture import Declarations, lower
from gateflow.compiler.compiled_cell import CompiledCell, Step, compiled
from gateflow.compiler.dynamo import constant_result
from gateflow.compiler.once import lock
from gateflow.compiler.recording import Recording
from gateflow.compiler.verification import (
    EffectError,
    equal_numbers,
    refuse_effects,
    refuse_what_differs,
    refuse_what_stays,
    refuse_what_varies,
    same_number,
    without_draws,
)
from gateflow.errors import UnsupportedStepError

__all__ = ["Look", "is_shipped", "look_at", "look_of"]

_PLAIN = (int, float, str, bool)
_SHIPPED = frozenset(cells.get(name) for name in cells.names())
"""Cells whose steps read nothing but their gates and plain attributes: a glance at these does."""
_OF_MODULES = frozenset((*vars(nn.Module()), "_look", "_origin", "_owner", "_own"))
"""Attributes that every cell has, of which no step of a shipped cell reads any."""
# A list: one pattern may have a kernel with a number in its text, and one with it as an argument.
_captured: dict[tuple[object, ...], list[_Found]] = {}
"""What was captured in this process, by declarations and pattern: cells of one class share it."""


def is_shipped(cell: Cell) -> bool:
    """Whether a cell comes with gateflow, so that its step reads nothing but its gates and plain attributes."""
    return type(cell) in _SHIPPED


def look_at(cell: Cell, *, zoneout: bool = False) -> Step | str:
    """What a cell's step computes now, or why it cannot be compiled."""
    return look_of(cell).now(cell, zoneout=zoneout)


def look_of(cell: Cell) -> Look:
    """The look that a cell and its views share."""
    origin = vars(cell).get("_origin", cell)
    if "_look" not in vars(origin):
        vars(origin)["_look"] = Look(origin)
    return vars(origin)["_look"]


class _Found(NamedTuple):
    """What a recording was found to be, with the numbers that it had last."""

    pattern: tuple[Any, ...]
    numbers: tuple[float, ...]
    lifted: tuple[int, ...]
    cell: CompiledCell
    glance: object = None
    derived: tuple[Any, ...] = ()
    drops: tuple[tuple[int, float], ...] = ()

    def fits(self, recording: Recording) -> bool:
        """Whether a recording is the same but for numbers that are arguments."""
        if recording.pattern != self.pattern:
            return False
        pairs = enumerate(zip(recording.numbers, self.numbers, strict=True))
        return all(k in self.lifted or same_number(a, b) for k, (a, b) in pairs)

    @property
    def step(self) -> Step:
        return Step(self.cell, tuple([self.numbers[k] for k in self.lifted]), self.derived, self.drops)


class Look:
    """Looks at a cell's step, and remembers what it was."""

    def __init__(self, cell: Cell):
        # Weak, since the cell holds its look: a cycle would keep the weights until the collector runs.
        self._cell = weakref.ref(cell)
        self._found: dict[tuple[bool, bool, bool, bool], _Found] = {}
        self._never: tuple[object, str] | None = None
        self._declarations, self._declared_by = _declarations_of(cell), _declared_by(cell)

    @property
    def effect(self) -> str | None:
        """What the step was found to do besides computing (draw, count, keep rows), in the words of `now`."""
        return None if self._never is None else self._never[1]

    @constant_result
    def name_now(self, zoneout: bool, own: str) -> str:
        """For `torch.compile`, which guards by itself what a step reads: the step's name, or why there is none.

        `own` are the names of the cell's own attributes, for which the compiler sees a constant here, and guards it.
        """
        del own
        step = self._step_now(zoneout)
        return step if isinstance(step, str) else step.name

    @constant_result
    def prepared_now(self, zoneout: bool) -> str:
        """For `torch.compile`: what the step needs to be made before a run, of which its name does not tell; or ""."""
        step = self._step_now(zoneout)
        return step.prepared if isinstance(step, Step) else ""

    @constant_result
    def number_now(self, name: str) -> float:
        """For `torch.compile`: a number that the cell has."""
        return getattr(self._cell(), name)

    @constant_result
    def has_narrow_rows_now(self, zoneout: bool) -> bool:
        """For `torch.compile`: see `CompiledCell.has_narrow_rows`."""
        step = self._step_now(zoneout)
        return isinstance(step, Step) and step.cell.has_narrow_rows

    def _step_now(self, zoneout: bool) -> Step | str:
        cell = self._cell()
        assert cell is not None
        return self.now(cell, zoneout=zoneout)

    def now(self, cell: Cell, *, zoneout: bool) -> Step | str:
        """What the step of the cell, or of a view of it, computes now, or why it cannot be compiled."""
        shipped = type(cell) in _SHIPPED
        # A class may be given other gates while it is in use (`test_declarations_may_change`).
        if not shipped and _declared_by(cell) != self._declared_by:
            self._declarations, self._declared_by = _declarations_of(cell), _declared_by(cell)
            self._found.clear()
        declarations = self._declarations
        if isinstance(declarations, str):
            return declarations
        # Modes belong to what is captured: an `autograd.Function` is its forward function alone while nobody asks for
        # gradients, and has a gradient of its own otherwise.
        autocast = torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        mode = zoneout, torch.is_grad_enabled(), *autocast
        # A step with effects is not looked at again: each look would count, draw or keep once more
        # (`test_a_counter_counts_every_step`). A step that is replaced is.
        if self._never is not None and self._never[0] is type(cell).step:
            return self._never[1]
        found, glance = self._found.get(mode), _glance(cell)
        # 2 µs, where running the step on stand-ins takes 22 to 31 (ARCHITECTURE, Decisions).
        if found is not None and glance is not None and glance == found.glance:
            return found.step
        try:
            found = self._looked(cell, declarations, zoneout, found)
        except EffectError as problem:
            self._never = type(cell).step, str(problem)
            return str(problem)
        except UnsupportedStepError as problem:
            return str(problem)
        self._found[mode] = found if glance is None else found._replace(glance=glance)
        return found.step

    def _looked(self, cell: Cell, declarations: Declarations, zoneout: bool, found: _Found | None) -> _Found:
        """What was found before if it is still right, else what the step is now."""
        if found is not None:
            recording = _recorded(cell, declarations)
            if recording is not None and found.fits(recording):
                if equal_numbers(recording.numbers, found.numbers):
                    return found
                # A number that is new each time (`random.random()`) changes within one call too; a schedule's does not.
                again = Recording(cell, declarations.declared)
                refuse_what_varies(cell, recording, again)
                return found._replace(numbers=recording.numbers)
        # The comparison with the step draws numbers: the user's generator, modes (fake tensors) and default device are
        # kept out of it, and no GPU is asked for its generator.
        with lock, torch.random.fork_rng(devices=[]), _disable_current_modes(), torch.device("cpu"):
            return _capture(cell, declarations, zoneout)


def _declarations_of(cell: Cell) -> Declarations | str:
    try:
        return Declarations(cell)
    except UnsupportedStepError as problem:
        return str(problem)


def _declared_by(cell: Cell) -> tuple[object, ...]:
    """What declarations follow from; a class may be given others."""
    kind = type(cell)
    parts = cell.states, cell.gates, cell.inputs, cell.matrices, cell.diagonals, cell.norms
    return (*parts, kind.bind, kind.over, kind._leaves)


def _recorded(cell: Cell, declarations: Declarations) -> Recording | None:
    """The step as it is now; none where it is refused, which a whole recording says with the user's line."""
    try:
        return Recording(cell, declarations.declared)
    except UnsupportedStepError:
        return None


def _capture(cell: Cell, declarations: Declarations, zoneout: bool) -> _Found:
    """The step as it is captured for the first time, or since it has changed."""
    with without_draws(cell):
        # Twice: a counter shows only in the second run.
        recording, again = (Recording(cell, declarations.declared, whole=True) for _ in range(2))
    refuse_effects(cell, recording)
    refuse_what_varies(cell, recording, again)
    known = _captured.setdefault((declarations.key, recording.pattern, zoneout), [])
    found = next((each for each in known if each.fits(recording)), None)
    if found is None:
        # What has changed once since it was written into a kernel is an argument from now on.
        seen = {k for each in known for k, n in enumerate(recording.numbers) if not same_number(each.numbers[k], n)}
        captured = lower(recording, declarations, zoneout=zoneout, lifted=seen)
        weights = {**declarations.weights, **{name: made.shape for name, made in captured.derived.items()}}
        own = compiled(captured.graph, declarations.hidden_size, weights)
        derived = tuple(made.expression for made in captured.derived.values())
        found = _Found(recording.pattern, recording.numbers, captured.lifted, own, None, derived, captured.drops)
    # After `lower`, which reads the calls that this lets go.
    refuse_what_stays(cell, (recording, again))
    # Some milliseconds for each; the tests have compared the shipped ones.
    if not is_shipped(cell):
        refuse_what_differs(cell, declarations, found._replace(numbers=recording.numbers).step)
    if found not in known:
        # First: it has at least the arguments of the others, so it fits more recordings.
        known.insert(0, found)
    return found._replace(numbers=recording.numbers)


def _glance(cell: Cell) -> object:
    """All that the step of a cell that comes with gateflow depends on; none where a cell may read something else."""
    if type(cell) not in _SHIPPED:
        return None
    # A module or function among the attributes may be called: then a glance is not enough.
    own = [(k, v) for k, v in vars(cell).items() if k not in _OF_MODULES]
    return (type(cell).step, own) if all(type(v) in _PLAIN for _, v in own) else None

"""A cell whose step has been captured, and the look at the step that tells whether it still computes the same.

A kernel belongs to what a step computes. Before each use the step runs on stand-ins (`recording.py`), which takes some
microseconds; if it calls what it called before, the kernel is right, and the numbers among its arguments are given to
the run. What a step reads beside its tensors need not be known: it shows in what is called, or makes no difference.
"""

from __future__ import annotations

import functools
import random
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import copysign
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from gateflow import cells
from gateflow.cells import Cell
from gateflow.compiler.capture import HOLD, Declarations, lower
from gateflow.compiler.graph import SCALARS, Graph, Node
from gateflow.compiler.interpret import interpret
from gateflow.compiler.kernel import Kernel, Loop
from gateflow.compiler.naming import Shape, graph_and_weights, text_of
from gateflow.compiler.operations import COMPARISONS
from gateflow.compiler.programs import Programs
from gateflow.compiler.recording import Recording, refusal
from gateflow.errors import ArtifactError, ShapeError, UnsupportedStepError

__all__ = ["CompiledCell", "Look", "Step", "is_name", "is_shipped", "look_at", "look_of", "step_named"]

_PLAIN = (int, float, str, bool)
_SHIPPED = frozenset(cells.get(name) for name in cells.names())
"""Cells whose steps read nothing but their gates and plain attributes: a glance at these does."""
_OF_MODULES = frozenset((*vars(nn.Module()), "_look", "_origin", "_owner", "_own"))
_lock = threading.RLock()
_cells: dict[str, CompiledCell] = {}
_kernels: dict[str, Kernel] = {}
_captured: dict[tuple[object, ...], list[_Found]] = {}


@dataclass(frozen=True, eq=False)
class CompiledCell:
    """What a step computes, and of how many units: all that a run needs beside its tensors.

    Attributes:
        graph: the step.
        hidden_size: units.
        weights: their shapes, in the order in which a run is given them.
        kernel: the loops, which all sizes share.
    """

    graph: Graph
    hidden_size: int
    weights: Mapping[str, Shape]
    text: str
    kernel: Kernel

    @property
    def programs(self) -> Programs:
        """The plans of the loops."""
        return self.kernel.programs

    def loop(self, name: str, dtype: torch.dtype, products: torch.dtype | None = None) -> Loop:
        """A compiled loop, see `Kernel.loop`."""
        return self.kernel.loop(name, dtype, products)

    @cached_property
    def numbers(self) -> int:
        """How many numbers a run is given."""
        return self.programs.numbers

    @cached_property
    def has_narrow_rows(self) -> bool:
        """Whether a row is made of truth values and numbers alone, and is neither."""
        truths, narrow = set[Node](), set[Node]()
        for node in self.graph.nodes:
            rows = [a for a in node.args if a.op not in SCALARS]
            if node.op in COMPARISONS:
                truths.add(node)
            elif node.op == "where" and all(a.op in SCALARS for a in node.args[1:]):
                narrow.add(node)
            elif rows and all(a in truths or a in narrow for a in rows):
                kept = node.op in ("mul", "minimum", "maximum", "where") and all(a in truths for a in node.args)
                (truths if kept else narrow).add(node)
        return bool(narrow)

    def check(self, weights: Mapping[str, Tensor], states: Sequence[Tensor], sizes: Mapping[str, int]) -> None:
        """Refuses weights and states whose shapes do not fit rows of these sizes.

        Raises:
            ShapeError: with what was found.
        """
        of_input, of_states = self._widths
        found = [state.shape[1] for state in states]
        if found != [sizes[width] for width in of_states] or sizes["H"] != self.hidden_size:
            raise ShapeError(f"the states of {self.graph.cell}, of {self.hidden_size} units, have sizes {found}")
        if sizes[of_input] != sizes["I"]:
            raise ShapeError(f"{self.graph.cell} needs an input of size {sizes[of_input]}, found {sizes['I']}")
        wanted = self._shapes(sizes["H"], sizes["P"], sizes["I"])
        if [w.shape for w in weights.values()] != wanted:
            found = ", ".join(f"{name} {list(w.shape)}" for name, w in weights.items())
            needed = ", ".join(f"{name} {list(shape)}" for name, shape in zip(self.weights, wanted, strict=True))
            raise ShapeError(f"weights of {self.graph.cell} must have the shapes {needed}; found {found}")

    @cached_property
    def _widths(self) -> tuple[str, list[str]]:
        """The width of the input, and of each part of the state."""
        x = next((n.width for n in self.graph.nodes if n.op == "input" and n.name == "x"), "I")
        return x, [state.width for state in self.graph.states]

    @functools.lru_cache(maxsize=64)  # noqa: B019  (compiled cells live as long as the process)
    def _shapes(self, *widths: int) -> list[torch.Size]:
        sizes = dict(zip("HPI", widths, strict=True))
        return [torch.Size(blocks * sizes[width] for blocks, width in shape) for shape in self.weights.values()]


class Step(NamedTuple):
    """A captured step with the numbers that it reads now."""

    cell: CompiledCell
    numbers: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What an operator of torch is given: it means the same in every process."""
        numbers = ",".join(map(repr, self.numbers))
        return f"{self.cell.hidden_size}|{numbers}|{self.cell.text}"


def step_named(name: str) -> Step:
    """The step that has a name.

    Raises:
        ArtifactError: the name is damaged, or of another version of gateflow.
    """
    size, _, rest = name.partition("|")
    numbers, _, text = rest.partition("|")
    try:
        if not (size.isascii() and size.isdecimal() and len(size) < 10):
            raise ValueError(f"{size!r:.40} is no size")  # noqa: TRY301
        hidden_size, given = int(size), tuple(map(float, numbers.split(","))) if numbers else ()
    except ValueError as problem:
        raise ArtifactError(f"the name of an exported cell is damaged: {problem}; export it again") from None
    cell = _cells.get(f"{hidden_size}|{text}")
    if cell is None:
        graph, weights = graph_and_weights(text)
        cell = _compiled(graph, hidden_size, weights)
    if len(given) != cell.numbers or hidden_size < 1:
        raise ArtifactError("the name of an exported cell is damaged: its numbers or its size; export it again")
    return Step(cell, given)


def is_name(text: str) -> bool:
    """Whether a text is the name of a step, and not the reason why there is none."""
    return text[:1].isdigit()


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

    def fits(self, recording: Recording) -> bool:
        """Whether a recording is the same but for numbers that are arguments."""
        if recording.pattern != self.pattern:
            return False
        pairs = enumerate(zip(recording.numbers, self.numbers, strict=True))
        return all(k in self.lifted or _same(a, b) for k, (a, b) in pairs)

    @property
    def step(self) -> Step:
        return Step(self.cell, tuple([self.numbers[k] for k in self.lifted]))


class Look:
    """Looks at a cell's step, and remembers what it was."""

    def __init__(self, cell: Cell):
        self._cell = weakref.ref(cell)
        self._found: dict[tuple[bool, bool, bool], _Found] = {}
        self._never: tuple[object, str] | None = None
        self._declarations, self._declared_by = _declarations_of(cell), _declared_by(cell)

    @torch.compiler.assume_constant_result
    def name_now(self, zoneout: bool, own: str) -> str:
        """For `torch.compile`, which guards by itself what a step reads: the step's name, or why there is none.

        `own` are the names of the cell's own attributes, for which the compiler sees a constant here, and guards it.
        """
        del own
        cell = self._cell()
        assert cell is not None
        step = self.now(cell, zoneout=zoneout)
        return step if isinstance(step, str) else step.name

    @torch.compiler.assume_constant_result
    def number_now(self, name: str) -> float:
        """For `torch.compile`: a number that the cell has."""
        return getattr(self._cell(), name)

    @torch.compiler.assume_constant_result
    def has_narrow_rows_now(self, zoneout: bool) -> bool:
        """For `torch.compile`: see `CompiledCell.has_narrow_rows`."""
        cell = self._cell()
        assert cell is not None
        step = self.now(cell, zoneout=zoneout)
        return isinstance(step, Step) and step.cell.has_narrow_rows

    def now(self, cell: Cell, *, zoneout: bool) -> Step | str:
        """What the step of the cell, or of a view of it, computes now, or why it cannot be compiled."""
        shipped = type(cell) in _SHIPPED
        if not shipped and _declared_by(cell) != self._declared_by:
            self._declarations, self._declared_by = _declarations_of(cell), _declared_by(cell)
            self._found.clear()
        declarations = self._declarations
        if isinstance(declarations, str):
            return declarations
        mode = zoneout, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
        if self._never is not None and self._never[0] is type(cell).step:
            return self._never[1]
        found, glance = self._found.get(mode), _glance(cell)
        if found is not None and glance is not None and glance == found.glance:
            return found.step
        try:
            found = self._looked(cell, declarations, zoneout, found)
        except _NeverError as problem:
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
                if _equal(recording.numbers, found.numbers):
                    return found
                again = Recording(cell, declarations.declared)
                _refuse_what_varies(cell, recording, again)
                return found._replace(numbers=recording.numbers)
        with _lock, torch.random.fork_rng(devices=[]), _disable_current_modes(), torch.device("cpu"):
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
    before = random.getstate(), tuple(np.random.get_state())[1:3], torch.get_rng_state()
    recording, again = (Recording(cell, declarations.declared, whole=True) for _ in range(2))
    after = random.getstate(), tuple(np.random.get_state())[1:3], torch.get_rng_state()
    if not all(map(_is_same_state, before, after)):
        raise _never(cell, "a step that draws random numbers")
    if recording.changed:
        raise _never(cell, f"a step that sets {', '.join(f'self.{name}' for name in recording.changed)}")
    _refuse_what_varies(cell, recording, again)
    known = _captured.setdefault((declarations.key, recording.pattern, zoneout), [])
    found = next((each for each in known if each.fits(recording)), None)
    if found is None:
        seen = {k for each in known for k, n in enumerate(recording.numbers) if not _same(each.numbers[k], n)}
        captured = lower(recording, declarations, zoneout=zoneout, lifted=seen)
        compiled = _compiled(captured.graph, declarations.hidden_size, declarations.weights)
        found = _Found(recording.pattern, recording.numbers, captured.lifted, compiled)
    rows = [weakref.ref(row) for each in (recording, again) for row in each.rows]
    for each in (recording, again):
        each.calls.clear()
        each.rows.clear()
    if any(row() is not None for row in rows):
        raise _never(cell, "a step that keeps a row of its own outside of the state")
    if not is_shipped(cell):
        _refuse_what_differs(cell, declarations, found._replace(numbers=recording.numbers).step)
    if found not in known:
        known.insert(0, found)
    return found._replace(numbers=recording.numbers)


class _NeverError(UnsupportedStepError):
    """A step that must not be run on stand-ins again, since it does more than compute."""


def _never(cell: Cell, found: str) -> _NeverError:
    return _NeverError(str(refusal(cell, found, None)))


def _refuse_what_varies(cell: Cell, recording: Recording, again: Recording) -> None:
    """A loop would compute something else at each step, a kernel at each call."""
    if recording.pattern != again.pattern or not _equal(recording.numbers, again.numbers):
        raise _never(cell, "a step that computes something else each time (random numbers of Python, a counter)")


def _refuse_what_differs(cell: Cell, declarations: Declarations, step: Step) -> None:
    """Compares what was captured with the step itself on random numbers, and their gradients.

    A step may do something else on stand-ins than on tensors: `isinstance(h, Tensor)`, an `autograd.Function`, a hook.
    """
    H, P, I = declarations.hidden_size, cell.output_size, cell.input_size  # noqa: E741
    sizes = {"H": H, "P": P, "I": I, "1": 1}

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, device="cpu").mul_(0.7).requires_grad_()

    shapes = zip(step.cell.weights, step.cell._shapes(H, P, I), strict=True)
    weights = {name: drawn(*shape) for name, shape in shapes}
    x, states = drawn(2, I), tuple(drawn(2, sizes[width]) for width in declarations.states.values())
    leaves = {"x": x, **dict(zip(declarations.states, states, strict=True))}
    leaves |= {
        HOLD.format(name): torch.zeros_like(state) for name, state in zip(declarations.states, states, strict=True)
    }
    trial = cell.over(weights).bind()
    vars(trial).pop("_origin")
    try:
        wanted = trial.advance(x, states)
    except Exception as error:
        raise refusal(cell, f"on random numbers {type(error).__name__}: {error}", None) from error
    found = interpret(step.cell.graph.new_states, leaves, weights, sizes, step.numbers)
    inputs, pairs = [x, *states, *weights.values()], list[Any](zip(found, wanted, strict=True))
    if torch.is_grad_enabled():
        slopes = [torch.randn(2, w.shape[1], dtype=torch.float64, device="cpu") for w in wanted]
        for made in (found, wanted):
            total = torch.stack([(m * slope).sum() for m, slope in zip(made, slopes, strict=True)]).sum()
            pairs.append(tuple(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)))
        pairs = [*pairs[:-2], *zip(*pairs[-2:], strict=True)]
    if not all(torch.allclose(a.expand_as(b), b.double(), 1e-5, 1e-7, equal_nan=True) for a, b in pairs):
        raise refusal(cell, "a step that computes something else when it is recorded", None)


def _is_same_state(before: Any, after: Any) -> bool:
    """Whether nothing was drawn meanwhile."""
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _equal(some: Sequence[float], others: Sequence[float]) -> bool:
    return (some == others and 0.0 not in some) or all(map(_same, some, others))


def _same(a: float, b: float) -> bool:
    """As bits: NaN is NaN, and 0 is not -0."""
    return (a == b and copysign(1, a) == copysign(1, b)) or (a != a and b != b)


def _glance(cell: Cell) -> object:
    """All that the step of a cell that comes with gateflow depends on; none where a cell may read something else."""
    if type(cell) not in _SHIPPED:
        return None
    own = [(k, v) for k, v in vars(cell).items() if k not in _OF_MODULES]
    return (type(cell).step, own) if all(type(v) in _PLAIN for _, v in own) else None


def _compiled(graph: Graph, hidden_size: int, weights: Mapping[str, Shape]) -> CompiledCell:
    text = text_of(graph, weights)
    with _lock:
        key = f"{hidden_size}|{text}"
        if key not in _cells:
            if text not in _kernels:
                _kernels[text] = Kernel(Programs(graph))
            _cells[key] = CompiledCell(graph, hidden_size, weights, text, _kernels[text])
        return _cells[key]

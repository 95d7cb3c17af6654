"""Whether a recording can be believed: what else a step does than compute, and whether it computes what was recorded.

A step is run on stand-ins when it is captured, and again whenever its numbers change. One that draws random numbers,
counts, or keeps rows would do so in those runs too, and is for the loop. One that tells stand-ins from tensors computes
something else than its recording, which a comparison on random numbers shows.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import copysign
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gateflow.cells import Cell
from gateflow.compiler.capture import Declarations
from gateflow.compiler.compiled_cell import Step
from gateflow.compiler.interpret import interpret
from gateflow.compiler.node import HOLD, Sizes
from gateflow.compiler.recording import Recording, refusal
from gateflow.errors import UnsupportedStepError

__all__ = [
    "EffectError",
    "equal_numbers",
    "refuse_effects",
    "refuse_what_differs",
    "refuse_what_stays",
    "refuse_what_varies",
    "same_number",
    "without_draws",
]


class EffectError(UnsupportedStepError):
    """A step that must not be run on stand-ins again, since it does more than compute."""


def _effect(cell: Cell, found: str) -> EffectError:
    return EffectError(str(refusal(cell, found, None)))


@contextmanager
def without_draws(cell: Cell) -> Iterator[None]:
    """A block within which a step must not have drawn random numbers.

    Raises:
        EffectError: Python's, numpy's or torch's generator is afterwards in another state.
    """
    before = _generators()
    yield
    if not all(map(_is_same_state, before, _generators())):
        raise _effect(cell, "a step that draws random numbers")


def _generators() -> tuple[Any, ...]:
    # numpy's state is (name, keys, position, …): every draw changes keys or position.
    return random.getstate(), tuple(np.random.get_state())[1:3], torch.get_rng_state()


def refuse_effects(cell: Cell, recording: Recording) -> None:
    """A step that sets attributes counts the runs on stand-ins as well."""
    if recording.changed:
        raise _effect(cell, f"a step that sets {', '.join(f'self.{name}' for name in recording.changed)}")


def refuse_what_stays(cell: Cell, recordings: Sequence[Recording]) -> None:
    """Lets the recordings go; a row that lives on is kept by the step, outside of the state."""
    rows = [weakref.ref(row) for each in recordings for row in each.rows]
    for each in recordings:
        each.calls.clear()
        each.rows.clear()
    # Rows have no cycles, so one that nobody holds is gone at once.
    if any(row() is not None for row in rows):
        raise _effect(cell, "a step that keeps a row of its own outside of the state")


def refuse_what_varies(cell: Cell, recording: Recording, again: Recording) -> None:
    """A loop would compute something else at each step, a kernel at each call."""
    if recording.pattern != again.pattern or not equal_numbers(recording.numbers, again.numbers):
        raise _effect(cell, "a step that computes something else each time (random numbers of Python, a counter)")


def refuse_what_differs(cell: Cell, declarations: Declarations, step: Step) -> None:
    """Compares what was captured with the step itself on random numbers, and their gradients.

    A step may do something else on stand-ins than on tensors: `isinstance(h, Tensor)`, an `autograd.Function`, a hook.
    """
    H, P, I = declarations.hidden_size, cell.output_size, cell.row_size  # noqa: E741
    sizes = Sizes(H=H, P=P, I=I)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, device="cpu").mul_(0.7).requires_grad_()

    weights = {name: drawn(*shape) for name, shape in declarations.shapes.items()}
    x, states = drawn(2, I), tuple(drawn(2, sizes[width]) for width in declarations.states.values())
    leaves = {"x": x, **dict(zip(declarations.states, states, strict=True))}
    leaves |= {
        # The step itself knows of no zoneout.
        HOLD.format(name): torch.zeros_like(state)
        for name, state in zip(declarations.states, states, strict=True)
    }
    trial = cell.over(weights).bind()
    # So that what the step sets stays in the trial: views pass it on to their cell.
    vars(trial).pop("_origin")
    seed = int(torch.randint(1 << 31, ()))
    leaves |= {name: mask[0] for name, mask in _masks(step, x, seed).items()}
    try:
        wanted = trial.advance(x, states)
    except Exception as error:
        raise refusal(cell, f"on random numbers {type(error).__name__}: {error}", None) from error
    given = dict(zip(step.cell.weights, [*weights.values(), *_made_of(cell, step, weights)], strict=True))
    found = interpret(step.cell.graph.new_states, leaves, given, sizes, step.numbers)
    inputs, pairs = [x, *states, *weights.values()], list[Any](zip(found, wanted, strict=True))
    # An `autograd.Function` has another gradient than what it calls.
    if torch.is_grad_enabled():
        slopes = [torch.randn(2, w.shape[1], dtype=torch.float64, device="cpu") for w in wanted]
        for made in (found, wanted):
            total = torch.stack([(m * slope).sum() for m, slope in zip(made, slopes, strict=True)]).sum()
            pairs.append(tuple(torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)))
        pairs = [*pairs[:-2], *zip(*pairs[-2:], strict=True)]
    # Wide enough for numbers that torch rounds to float32, its default dtype. A new state may be one number for a row,
    # which `expand_as` spreads.
    if not all(torch.allclose(a.expand_as(b), b.double(), 1e-5, 1e-7, equal_nan=True) for a, b in pairs):
        raise refusal(cell, "a step that computes something else when it is recorded", None)


def _masks(step: Step, x: Tensor, seed: int) -> dict[str, Tensor]:
    """What the step's dropouts multiply by, after which the step itself will draw the same."""
    # Not `torch.manual_seed`, which would seed the generators of GPUs too, and those belong to the user.
    generator = torch.default_generator
    generator.manual_seed(seed)
    masks = step.masks(x.detach()[None])
    generator.manual_seed(seed)
    return masks


def _made_of(cell: Cell, step: Step, weights: Mapping[str, Tensor]) -> list[Tensor]:
    """The weights that a step makes, which a run makes once and the loop at each step."""
    before = torch.get_rng_state()
    made = step.made_of(weights)
    if not _is_same_state(before, torch.get_rng_state()):
        raise refusal(cell, "a weight that is made by drawing random numbers", None)
    return made


def _is_same_state(before: Any, after: Any) -> bool:
    """Whether nothing was drawn between the two."""
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def equal_numbers(some: Sequence[float], others: Sequence[float]) -> bool:
    """Whether numbers are the same, as bits."""
    # In tuples 0.0 equals -0.0: only where there is a zero is each looked at, which takes longer.
    return (some == others and 0.0 not in some) or all(map(same_number, some, others))


def same_number(a: float, b: float) -> bool:
    """As bits: NaN is NaN, and 0 is not -0, by which `1 / x` differs."""
    return (a == b and copysign(1, a) == copysign(1, b)) or (a != a and b != b)

"""What a prediction becomes when a unit is held at a value, or a gate open or shut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gateflow.cells import Cell
from gateflow.errors import ConfigError
from gateflow.flow.activations import HeldGates, squashed_gates
from gateflow.flow.capture import Replay, State, probed
from gateflow.inspector.views.outcomes import likeliest, number_of, output_of, row_of
from gateflow.inspector.views.question import Answer, OfText, Outcome, Span
from gateflow.inspector.views.reading import Reading

__all__ = ["Effect", "Hold", "Intervention", "InterventionQuestion", "hidden_with", "intervention"]


class Hold(Span):
    """Some units of a part of a layer, held at a value over a span of steps.

    Attributes:
        part: of the state, set after each step of the span, so that it acts from the next step on; or a gate, whose
            value within these steps it is.
        units: their numbers; all of them if left out.
        value: of a gate from 0, shut, to 1, open.
    """

    layer: str = Field(max_length=200)
    part: str = Field(max_length=200)
    units: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), max_length=4096)
    value: float = Field(ge=-1000, le=1000)


class InterventionQuestion(OfText):
    """What if units were held?

    Attributes:
        place: the step that the prediction is about; see `AttributionQuestion`.
        watched: outcomes whose probabilities are told, such as both forms of a verb.
    """

    place: int = Field(ge=0)
    output: str | None = Field(default=None, max_length=200)
    holds: tuple[Hold, ...] = Field(max_length=8)
    watched: tuple[Outcome, ...] = Field(default=(), max_length=8)


class Effect(Answer):
    """An outcome without and with the intervention."""

    name: str
    before: float
    after: float


class Intervention(Answer):
    """The outcomes that were asked for, and those that are among the likeliest without the intervention or with it."""

    watched: list[Effect]
    likeliest: list[Effect]


def intervention(reading: Reading, question: InterventionQuestion) -> Intervention:
    """The model run again, step by step, with the holds in its steps."""
    output, row = output_of(reading, question.output), row_of(reading, question.place)
    watched = [number_of(reading, output, outcome) for outcome in question.watched]
    before = reading.log_probabilities[output]
    after = _log_probabilities(reading, output, hidden_with(reading, question.holds))
    names = reading.inspected.outcomes[output]
    p, q = before[row].exp(), after[row].exp()

    def effects(numbers: Iterable[int]) -> list[Effect]:
        return [Effect(name=names[n], before=float(p[n]), after=float(q[n])) for n in numbers]

    both = likeliest(reading.inspected, output, torch.stack([before[row], after[row]]))
    return Intervention(watched=effects(watched), likeliest=effects(dict.fromkeys(x.number for r in both for x in r)))


@torch.no_grad()
def hidden_with(reading: Reading, holds: Sequence[Hold]) -> Tensor:
    """What scores are made of, ``[N, F]``, where layers take steps with these holds.

    Raises:
        ConfigError: a layer, part, unit, value or step that there is not.
    """
    ours: dict[str, list[_Held]] = {}
    for hold in holds:
        ours.setdefault(hold.layer, []).append(_Held(reading, hold))

    def change(replay: Replay, p: int, cell: Cell, x: Tensor, state: State) -> State:
        time = replay.time(p)
        here = [held for held in ours.get(replay.title, []) if held.hold.begin <= time < held.hold.end]
        gates = {call: held.change for held in here for call in held.calls}
        rows = slice(p * replay.rows, (p + 1) * replay.rows)
        with HeldGates(gates):
            new = list(replay.advance(cell, x, state, rows))
        for held in here:
            if held.state is not None:
                new[held.state] = held.change(new[held.state])
        return tuple(new)

    with probed(reading.inspected.model, change):
        return reading.inspected.hidden(reading.steps, reading.vectors.detach())


class _Held:
    """A hold that has been looked up: in which part of the state, or in which calls of the step."""

    def __init__(self, reading: Reading, hold: Hold):
        replay = reading.layer(hold.layer)[0]
        calls = sum(each.name == replay.name for each in reading.replays)
        if calls > 1:
            # Which call it is, and at which step it enters, is only known when all have run.
            raise ConfigError(f"the model calls {replay.name} {calls} times in one run: its steps cannot be held.")
        states, squashes = replay.cell.states, squashed_gates(replay)
        self.hold = hold
        self.state = states.index(hold.part) if hold.part in states else None
        self.calls = [] if self.state is not None else [i for i, (name, _) in enumerate(squashes) if name == hold.part]
        self._refuse_unknown(states, squashes)
        size = reading.part(hold.layer, hold.part).shape[1]
        if any(unit >= size for unit in hold.units):
            raise ConfigError(f"{hold.part} of {hold.layer} has units 0 to {size - 1}, and no unit {max(hold.units)}.")
        if hold.end > sum(each.steps for each in reading.layer(hold.layer)):
            raise ConfigError(f"{hold.layer} has no step {hold.end - 1} in this text; shorten the span.")

    def _refuse_unknown(self, states: Sequence[str], squashes: Sequence[tuple[str, str]]) -> None:
        hold, kinds = self.hold, dict(squashes)
        if self.state is None and not self.calls:
            raise ConfigError(f"{hold.layer} has no {hold.part!r:.60}; it has {', '.join([*states, *kinds])}.")
        low, high = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(kinds.get(hold.part, ""), (-1000.0, 1000.0))
        if self.calls and not low <= hold.value <= high:
            raise ConfigError(f"the gate {hold.part} has values from {low:g} to {high:g}, and none of {hold.value:g}.")

    def change(self, value: Tensor) -> Tensor:
        """The value, of the units that are held another one."""
        if not self.hold.units:
            return torch.full_like(value, self.hold.value)
        changed = value.clone()
        changed[..., list(self.hold.units)] = self.hold.value
        return changed


def _log_probabilities(reading: Reading, output: str, hidden: Tensor) -> Tensor:
    with torch.no_grad():
        return reading.inspected.log_probabilities(output, reading.inspected.scores(hidden)[output])

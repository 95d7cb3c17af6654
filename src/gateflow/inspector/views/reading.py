"""One text read by one model: everything that views are made of, each part computed when it is first asked for."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from gateflow.errors import ConfigError
from gateflow.flow import LayerGates
from gateflow.flow.activations import intermediates_of
from gateflow.flow.capture import Replay, Trace, probed, unchanged_buffers
from gateflow.flow.gates import gates_of
from gateflow.inspector.views.question import LONGEST
from gateflow.tasks.inspection import Inspected, Steps

__all__ = ["Reading"]


class Reading:
    """What a model makes of a text.

    Args:
        inspected: the model.
        steps: what it reads.

    Attributes:
        vectors: what its layers read, ``[T, 1, E]``, a leaf.

    Raises:
        ConfigError: the text has too many steps.
    """

    def __init__(self, inspected: Inspected, steps: Steps):
        typed = len(steps.names) - steps.before
        if typed > LONGEST:
            raise ConfigError(f"this text has {typed} {inspected.step}s, and at most {LONGEST} are shown; shorten it.")
        self.inspected, self.steps = inspected, steps
        self.vectors = inspected.vectors(steps).detach().requires_grad_()
        self._gates: dict[str, LayerGates] = {}

    @cached_property
    def hidden(self) -> Tensor:
        """What scores are made of, ``[N, F]``, with the graph that leads to the vectors."""
        with torch.enable_grad():
            return self.inspected.hidden(self.steps, self.vectors)

    @cached_property
    def scores(self) -> dict[str, Tensor]:
        """``[N, K]`` for each output."""
        with torch.no_grad():
            return self.inspected.scores(self.hidden.detach())

    @cached_property
    def log_probabilities(self) -> dict[str, Tensor]:
        """``[N, K]`` for each output."""
        with torch.no_grad():
            return {name: self.inspected.log_probabilities(name, scores) for name, scores in self.scores.items()}

    @cached_property
    def replays(self) -> list[Replay]:
        """Every recurrent layer that runs, step by step, in their order."""
        with torch.enable_grad(), unchanged_buffers(self.inspected.model), probed(self.inspected.model) as replays:
            self.inspected.hidden(self.steps, self.vectors)
        return replays

    @cached_property
    def layers(self) -> dict[str, list[Replay]]:
        """The replays of each layer and direction that reads this text as one sequence."""
        # A layer over the characters of each word has a row for each.
        return {name: found for name, found in Trace(self.replays, [], 0.0).sequences.items() if found[0].rows == 1}

    def layer(self, name: str) -> list[Replay]:
        """The replays of one layer.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.layers:
            raise ConfigError(f"there is no layer {name!r:.60}; there are {', '.join(self.layers)}.")
        return self.layers[name]

    def gates(self, name: str) -> LayerGates:
        """What the gates of a layer did."""
        if name not in self._gates:
            self._gates[name] = gates_of(Trace(self.layer(name), [], 0.0)).layers[name]
        return self._gates[name]

    def states(self, name: str) -> dict[str, Tensor]:
        """Each part of a layer's state after each step, ``[T, H]`` in the order of time."""
        replays = self.layer(name)
        found = {}
        for i, part in enumerate(replays[0].cell.states):
            runs = [replay.states[i][1:, 0] for replay in replays]
            values = torch.cat(runs)
            found[part] = values.flip(0) if replays[0].reversed else values
        return found

    def parts(self, name: str) -> dict[str, Tensor]:
        """States, gates and what else a cell's step names, ``[T, H]`` each, by the names that the cell gives them."""
        gates = {gate: found.values[:, 0] for gate, found in self.gates(name).activations.items()}
        return self.intermediates(name) | self.states(name) | gates

    def part(self, name: str, part: str) -> Tensor:
        """One of these, without the work for the others.

        Raises:
            ConfigError: there is no such layer or part.
        """
        if part in (states := self.states(name)):
            return states[part].detach()
        if part in (gates := self.gates(name).activations):
            return gates[part].values[:, 0]
        others = self.intermediates(name)
        if part not in others:
            raise ConfigError(f"{name} has no {part!r:.60}; it has {', '.join([*states, *gates, *others])}.")
        return others[part]

    def intermediates(self, name: str) -> dict[str, Tensor]:
        """What a layer's step names beside states and gates, ``[T, H]`` each."""
        runs = [intermediates_of(replay) for replay in self.layer(name)]
        return {part: torch.cat([run[part][:, 0] for run in runs]) for part in runs[0]}

    def names(self, name: str) -> list[str]:
        """Of a layer's steps: those of the text, or numbers where it has others."""
        steps = sum(replay.steps for replay in self.layer(name))
        names = self.steps.names
        return list(names) if len(names) == steps else [str(t + 1) for t in range(steps)]

"""What has been measured on one model and batch: what the rules judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gateflow.cells import Cell
from gateflow.flow.capture.trace import Trace
from gateflow.flow.gates import Gates
from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.lyapunov import Lyapunov
from gateflow.flow.reach import Reach
from gateflow.flow.terms import Terms

__all__ = ["Case"]


@dataclass(frozen=True, eq=False)
class Case:
    """The measurements of one model on one batch.

    Attributes:
        model: the model.
        run: its recurrent passes.
        reach, gates, lyapunov, terms: what the instruments found; none where one was left out.
        gradients: norm of the loss's gradient by each parameter that can be trained; none if it does not depend on it.
        arriving: per layer and direction `[T]`, the norm over the batch of the gradient of the whole loss that arrives
            at the states of each step.
        needed_lag: steps back that the task has to reach, if known.
        window: steps of truncated back-propagation, if known or seen.
        clipping: figures of the clipper under the names of `NormClipper.statistics`; empty if there was none.
        history: records of the run so far, with `step`, and `loss` or `horizon`.
        quantised: the 16-bit type in which the gates are computed, if they are.
    """

    model: nn.Module
    run: Trace
    reach: Reach
    gates: Gates
    lyapunov: Lyapunov | None
    terms: Terms | None
    gradients: Mapping[str, float | None]
    arriving: Mapping[str, Sequence[float]]
    needed_lag: int | None
    window: int | None
    clipping: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    quantised: torch.dtype | None

    @property
    def farthest(self) -> LayerReach:
        """The layer and direction with the longest horizon: what passes anywhere, passes."""
        return max(self.reach.layers.values(), key=lambda layer: (layer.horizon, len(layer.decay.values)))

    @property
    def longest(self) -> int:
        """The largest lag that the batch has."""
        return max(len(layer.decay.values) for layer in self.reach.layers.values()) - 1

    @property
    def lag(self) -> int:
        """The lag at which reach is judged: what the task needs, as far as the batch goes; else the longest."""
        return min(self.needed_lag or self.longest, self.longest)

    @property
    def left(self) -> float:
        """The share of the gradient left at that lag, in the layer where most is left."""
        return max(layer.left_at(self.lag) if layer.left_at(self.lag) >= 0 else 0.0 for layer in self.layers)

    @property
    def layers(self) -> list[LayerReach]:
        """Reach per layer and direction."""
        return list(self.reach.layers.values())

    @property
    def short(self) -> bool:
        """Whether less than 1 % of the gradient is left at the needed lag."""
        return self.needed_lag is not None and self.left <= 0.01

    def cell(self, title: str) -> Cell:
        """The cell of a layer and direction."""
        return self.run.sequences[title][0].cell

    def series(self, name: str) -> list[float]:
        """The values of one figure over the history, where it has any."""
        return [float(record[name]) for record in self.history if isinstance(record.get(name), int | float)]

"""A forecaster as the inspector looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from gateflow.tasks.forecaster.data import own_series
from gateflow.tasks.forecaster.diagnosis import last_steps
from gateflow.tasks.forecaster.loading import load_layout, load_model
from gateflow.tasks.forecaster.model import ForecasterModel
from gateflow.tasks.forecaster.prepared import Prepared
from gateflow.tasks.forecaster.run import ForecasterRun
from gateflow.tasks.inspection import EXAMPLES, Inspected, Steps

__all__ = ["InspectedForecaster"]


class InspectedForecaster(Inspected[ForecasterModel]):
    """It reads the last steps of a series; what it forecasts are numbers, between which nothing is chosen."""

    about, step, typed = "nothing", "step", False

    def __init__(self, run: ForecasterRun):
        self.run = run
        self.model = load_model(run, load_layout(run))
        self.outcomes = {}

    @cached_property
    def _series(self) -> list[Prepared]:
        return own_series(self.run)[:EXAMPLES]

    def examples(self) -> Sequence[str]:
        """By number."""
        return [f"series {i + 1}" for i in range(len(self._series))]

    def example(self, number: int) -> Steps:
        """The last steps of a series, counted back from its end."""
        batch = last_steps([self._series[number]])
        count = int(batch.lengths[0])
        return Steps(tuple(str(t - count) for t in range(count)), batch)

    def vectors(self, steps: Steps) -> Tensor:
        """The values that are read."""
        return steps.data.read

    def hidden(self, steps: Steps, vectors: Tensor) -> Tensor:
        """What the layers make of the steps up to each one."""
        return self.model.states(vectors, steps.data.lengths)[:, 0]

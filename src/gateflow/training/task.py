"""What the training loop asks of a task. Nothing here, and nothing in this package, knows a task by name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from gateflow.training.checkpoint import Start, State

__all__ = ["Metric", "Task", "TrainingOutcome", "known_figure"]

# The figure by which a model is judged, ``loss`` or one of a task's own, and whether less or more of it is better.
Metric = tuple[str, Literal["min", "max"]]


class Task(Protocol):
    """What is learnt: the data of this process, a loss, and how good the model has become."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def metric(self) -> Metric:
        """Which figure of a validation decides that these weights are the best so far."""
        ...

    @property
    def unit(self) -> str:
        """What the loss is a mean over, such as ``tokens``."""
        ...

    def start(self) -> Start:
        """The hidden state that an epoch of this process starts from: what a carried one has to look like.

        Empty for a task whose sequences have nothing to do with each other.
        """
        ...

    def batches_per_epoch(self) -> int:
        """Batches in one pass over the data."""
        ...

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """Batches of this process, from number `start` of the epoch: the same ones whenever they are asked for."""
        ...

    def loss(self, model: nn.Module, batch: Any, carried: State) -> tuple[Tensor, int, State]:
        """Mean loss, the number of targets it is a mean of, and the detached state to carry on."""
        ...

    def validate(self, model: nn.Module) -> tuple[Mapping[str, float], int]:
        """Sums over the validation data of this process, `loss` among them, and the number of targets.

        A name with an underscore before it is for `figures` alone, and is not recorded.
        """
        ...

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """What else to report for means, such as the perplexity for a mean `loss`."""
        ...


@dataclass(frozen=True)
class TrainingOutcome:
    """How a training ended.

    `best` is the best value of the task's metric, `seconds` are those of the updates alone, `stale` is after how many
    validations without a better one it stopped early, if it did, `begun` the update at which this process went on.
    `elapsed` are all seconds, with set-up, validations and checkpoints, of all processes that the run was trained by.
    """

    step: int
    epoch: int
    best: float | None
    seconds: float
    targets: int
    interrupted: bool
    stale: int | None = None
    begun: int = 0
    elapsed: float = 0.0


def known_figure(task: Task, best: float | None) -> tuple[str, float | None]:
    """The name and value that a reader knows: a task that is judged by its loss says what that is to people."""
    name = task.metric[0]
    shown = list(task.figures({"loss": math.nan if best is None else best}).items()) if name == "loss" else []
    return (shown[0][0], None if best is None else shown[0][1]) if shown else (name, best)

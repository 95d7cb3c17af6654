"""What the training loop asks of a task, and of those who watch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from gateflow.training.checkpoint import Progress, Start, State
from gateflow.training.metrics import Record


class Task(Protocol):
    """What is learnt: the data of this process, a loss, and how good the model has become."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    def start(self) -> Start:
        """The hidden state that an epoch of this process starts from: what a carried one has to look like."""
        ...

    def windows_per_epoch(self) -> int:
        """Batches in one pass over the data."""
        ...

    def windows(self, epoch: int, start: int) -> Iterator[Any]:
        """Batches of this process, from number `start` of the epoch."""
        ...

    def loss(self, model: nn.Module, window: Any, carried: State) -> tuple[Tensor, int, State]:
        """Mean loss, the number of targets it is a mean of, and the detached state to carry on."""
        ...

    def validate(self, model: nn.Module) -> tuple[float, int]:
        """Summed loss and number of targets of the validation data of this process."""
        ...

    def figures(self, loss: float) -> dict[str, float]:
        """What else to report for a mean loss, such as the perplexity."""
        ...


class Listener(Protocol):
    """Somebody who watches the training: a progress bar, TensorBoard."""

    def step(self, progress: Progress, total: int) -> None:
        """After every update."""
        ...

    def record(self, record: Record) -> None:
        """After every line of metrics.jsonl."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a training ended; `best` is the smallest mean validation loss, `seconds` those of the updates alone."""

    step: int
    epoch: int
    best: float | None
    seconds: float
    targets: int
    interrupted: bool

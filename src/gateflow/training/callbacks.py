"""Those who watch a training and change nothing in it: a progress bar, a tracker."""

from __future__ import annotations

from typing import Protocol

from gateflow.training.checkpoint import Progress
from gateflow.training.metrics import Record

__all__ = ["Callback"]


class Callback(Protocol):
    """What the loop tells of; it is called in the first process alone, after the update or record is done."""

    def step(self, progress: Progress, total: int) -> None:
        """After every update."""
        ...

    def record(self, record: Record) -> None:
        """After every line of metrics.jsonl."""
        ...

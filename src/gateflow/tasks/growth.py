"""What a step of a network takes, in time and in memory, for tasks that say one token after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gateflow.benchmarking.timing import interleaved
from gateflow.tasks.description import StepCost

__all__ = ["CONTEXTS", "bytes_of", "step_cost"]

# Tokens before the one that is timed: four times as many each time, as far as a text of some pages.
CONTEXTS = (16, 64, 256, 1024)


def step_cost(length: int, step: Callable[[], Any], state: Any) -> StepCost:
    """The time of a step, a median of several, and the bytes of the state that it goes on from.

    Args:
        length: tokens before it.
        step: does it, from one and the same state.
        state: tensors, and tuples, lists or dataclasses of them, of one row.
    """

    def done() -> None:
        step()
        # A GPU answers before it has computed.
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    timing = interleaved({"step": done}, rounds=5, seconds=2.0)["step"]
    return StepCost(length, 1e6 * timing.median, bytes_of(state))


def bytes_of(state: Any) -> int:
    """Bytes of all tensors of a state.

    Example:
        >>> bytes_of([(torch.zeros(1, 5), None), torch.zeros(2, dtype=torch.float64)])
        36
    """
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if hasattr(state, "__dataclass_fields__"):
        return sum(bytes_of(getattr(state, name)) for name in state.__dataclass_fields__)
    return sum(map(bytes_of, state)) if isinstance(state, list | tuple) else 0

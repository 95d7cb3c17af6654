"""Contexts that leave a model and the random state as they were, and one that measures in full precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["unchanged_buffers", "unchanged_random_state", "without_autocast"]


def unchanged_random_state(model: nn.Module) -> Any:
    """A context after which the generators of the CPU and of the model's devices are what they were before."""
    # Only the model's own devices: by default `fork_rng` initialises CUDA on every device of the machine.
    return torch.random.fork_rng(sorted({p.device.index for p in model.parameters() if p.is_cuda}))


@contextlib.contextmanager
def unchanged_buffers(model: nn.Module) -> Iterator[None]:
    """After the block buffers that a run counts on, such as batch norm's averages, are what they were."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            # Written only where a run has written: a write counts as a change in place, and a graph
            # that the user still holds from before the call could then not be differentiated.
            if not torch.equal(buffer, value):
                buffer.copy_(value)


def without_autocast(model: nn.Module) -> torch.autocast:
    """A context in which layers compute in their weights' own type, which is what can be followed step by step."""
    return torch.autocast(next((p.device.type for p in model.parameters()), "cpu"), enabled=False)

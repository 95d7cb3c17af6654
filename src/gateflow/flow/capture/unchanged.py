"""Contexts that leave a model and the random state as they were, and one that measures in full precision."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from gateflow.layers import is_torchs

__all__ = ["unchanged_buffers", "unchanged_random_state", "without_autocast", "without_inner_dropout"]

told = logging.getLogger(__name__)


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


@contextlib.contextmanager
def without_inner_dropout(model: nn.Module) -> Iterator[None]:
    """Within the block torch's own layers drop nothing between their layers, which is said; all else is as it was.

    Torch draws that mask inside its kernel, and no replay could know it. What a whole model drops elsewhere stays.
    """
    dropping = {
        name: (module, module.dropout)
        for name, module in model.named_modules()
        if is_torchs(module) and module.training and module.dropout and module.num_layers > 1
    }
    if dropping:
        shares = ", ".join(f"{name or type(module).__name__} ({share:g})" for name, (module, share) in dropping.items())
        told.info("measured without the dropout between the layers of %s: its masks cannot be seen.", shares)
    try:
        for module, _ in dropping.values():
            module.dropout = 0.0
        yield
    finally:
        for module, share in dropping.values():
            module.dropout = share

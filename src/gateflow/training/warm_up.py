"""Training steps that are thrown away: they build every kernel a training will use, before a clock starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from gateflow.flow.monitor import random_state, random_state_of
from gateflow.layers.stack import Stack

__all__ = ["builds_kernels", "thrown_away"]


def builds_kernels(model: nn.Module) -> bool:
    """Whether there is a layer of gateflow in it; no other kernel is built at its first use.

    Example:
        >>> from gateflow import Recurrent
        >>> builds_kernels(nn.Sequential(Recurrent("gru", 2, 3))), builds_kernels(nn.GRU(2, 3))
        (True, False)
    """
    return any(isinstance(module, Stack) for module in model.modules())


@contextmanager
def thrown_away(model: nn.Module) -> Iterator[None]:
    """Within the block the model may run forward and back; afterwards gradients, buffers, modes and random states are
    to the bit what they were. Weights are nobody's to change in it.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.BatchNorm1d(3))
        >>> with thrown_away(model):
        ...     model(torch.ones(4, 2)).sum().backward()
        >>> model[0].weight.grad, model[2].running_mean
        (None, tensor([0., 0., 0.]))
    """
    weights, buffers = list(model.parameters()), list(model.buffers())
    grads, values = [weight.grad for weight in weights], [buffer.clone() for buffer in buffers]
    modes = [(module, module.training) for module in model.modules()]
    # Set aside, not zeroed: a gradient that is there is somebody's, and its memory is part of that.
    _give(weights, [None] * len(weights))
    try:
        with random_state_of(model, random_state(model)):
            yield
    finally:
        _give(weights, grads)
        # Of each module: parts of a model may be frozen in eval mode.
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                # Into the same memory: an optimizer or a wrapper may hold the tensor.
                buffer.copy_(value)


def _give(weights: list[nn.Parameter], grads: Sequence[torch.Tensor | None]) -> None:
    for weight, grad in zip(weights, grads, strict=True):
        weight.grad = grad

"""Optimizers by name."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from gateflow.runs.config import TrainingConfig


def build_optimizer(model: nn.Module, settings: TrainingConfig) -> Optimizer:
    """The optimizer that `settings` ask for; its learning rate is set again before every update.

    AdamW: Loshchilov and Hutter 2019, arXiv:1711.05101.

    Example:
        >>> type(build_optimizer(nn.Linear(2, 3), TrainingConfig(optimizer="sgd"))).__name__
        'SGD'
    """
    if settings.optimizer == "sgd":
        return SGD(model.parameters(), settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    # One kernel for all parameters instead of one per parameter and operation.
    return AdamW(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)

"""A model in evaluation mode for a while, and afterwards as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from gateflow.layers.stack import Stack

__all__ = ["evaluating"]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block all of the model is in evaluation mode; afterwards each module is in the mode that it had.

    Args:
        model: any module. Parts of it may be frozen in evaluation mode, and stay so.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(3).eval())
        >>> with evaluating(model):
        ...     model.training
        False
        >>> [module.training for module in model]
        [True, False]
    """
    # A layer hands its mode on to its cells, which are no submodules of it; and a cell may hold modules of its own.
    cells = [cell for module in model.modules() if isinstance(module, Stack) for cell in module._equations]
    modes = {part: part.training for whole in (model, *cells) for part in whole.modules()}
    try:
        model.eval()
        yield
    finally:
        # The attribute, and not `train()`: that would set all that lies below, frozen parts and shared ones too.
        for part, training in modes.items():
            part.training = training

"""A model in evaluation mode for a while, and afterwards as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

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
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        # `train()` of each, not its attribute alone: a layer hands its mode on to cells that are no submodules of it.
        # What lies below is set too, but parents come first here, so that a frozen part is set back after them.
        for module, training in modes.items():
            module.train(training)

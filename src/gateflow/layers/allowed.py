"""The classes that `torch.load` must be allowed to build for a saved model with layers of this library."""

from __future__ import annotations

from typing import Any

from torch import nn

from gateflow.layers.crf import LinearChainCRF
from gateflow.layers.drop_in import GRU, LSTM, RNN
from gateflow.layers.recurrent import Recurrent
from gateflow.layers.skip import Highway, Residual

__all__ = ["safe_globals"]


def safe_globals() -> list[Any]:
    """What `torch.load` must be allowed for a model that was saved whole, in addition to the model's own classes.

    Its default is `weights_only=True`. These are the layers, and what torch asks for in the modules that they hold.
    Cells of this library are written by name; the class of a cell of your own you add, as those of your model.

    Example:
        >>> import torch
        >>> with torch.serialization.safe_globals([*safe_globals(), nn.Embedding]):  # around `torch.load`
        ...     LSTM in torch.serialization.get_safe_globals()
        True
    """
    # What a layer may hold as modules; `set` is the type of every module's `_non_persistent_buffers_set`.
    inside = [nn.Identity, nn.Linear, nn.ModuleList, nn.ReLU, nn.Sequential]
    return [RNN, GRU, LSTM, Recurrent, Residual, Highway, LinearChainCRF, *inside, set]

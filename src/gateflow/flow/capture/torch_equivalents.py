"""Torch's recurrent modules as ours: the same equations without weights, to be run over the weights of the original."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from gateflow import layers
from gateflow.cells import Cell
from gateflow.cells.torch_equivalents import TORCH_EQUIVALENTS, cell_of_single_step

__all__ = ["equivalent_cell", "equivalent_layer"]

# A drop-in has the name of the layer in whose place it goes.
_LAYERS: dict[type[nn.RNNBase], Any] = {e.layer: getattr(layers, e.layer.__name__) for e in TORCH_EQUIVALENTS}
# Options that all three of torch's layers have. `dropout` is not among them:
# torch's own mask is drawn inside its kernel, and no replay could know it,
# so that nothing is dropped there while a model is looked at.
_SHARED = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
_OWN = {nn.RNN: ("nonlinearity",), nn.GRU: (), nn.LSTM: ("proj_size",)}


def equivalent_layer(module: nn.RNNBase) -> nn.Module:
    """The layer of ours that computes what `torch.nn.RNN`, `GRU` or `LSTM` does, dropout between layers left out."""
    # By `isinstance`, so that a user's subclass of a torch layer has one too.
    kind = next(kind for kind in _LAYERS if isinstance(module, kind))
    return _layer(kind, **{name: getattr(module, name) for name in (*_SHARED, *_OWN[kind])})


def equivalent_cell(module: Any) -> Cell:
    """The cell that `torch.nn.RNNCell`, `GRUCell` or `LSTMCell` computes, over its weights as they are now."""
    # Parameters by `getattr`, not from `_parameters`: a parametrized weight is computed when it is asked for.
    blank = _cell(cell_of_single_step(module), *_sizes(module))
    return blank.over({name: getattr(module, name) for name in blank._parameters})


def _sizes(module: Any) -> tuple[int, int, bool]:
    return module.input_size, module.hidden_size, module.bias


# Kept, since building a layer checks and tries its cell, which costs more than to
# replay a short batch. On the meta device an equivalent has no memory, and none could
# be mistaken for the original's weights. 32 kinds of layers are more than a model has.
@functools.lru_cache(32)
def _layer(kind: type[nn.RNNBase], **options: Any) -> nn.Module:
    return _LAYERS[kind](**options, device="meta")


@functools.lru_cache(32)
def _cell(kind: type[Cell], input_size: int, hidden_size: int, bias: bool) -> Cell:
    return kind(input_size, hidden_size, bias=bias, device="meta")

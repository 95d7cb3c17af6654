"""Torch's recurrent modules as ours: the same equations without weights, to be run over those of the original."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from gateflow import cells, layers
from gateflow.cells import Cell

__all__ = ["cell_of", "layer_of"]

_LAYERS: dict[type[nn.RNNBase], Any] = {nn.RNN: layers.RNN, nn.GRU: layers.GRU, nn.LSTM: layers.LSTM}
_SHARED = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
_OWN = {nn.RNN: ("nonlinearity",), nn.GRU: (), nn.LSTM: ("proj_size",)}


def layer_of(module: nn.RNNBase) -> nn.Module:
    """The twin of `torch.nn.RNN`, `GRU` or `LSTM`, but for the dropout between its layers, which nobody can replay."""
    kind = next(kind for kind in _LAYERS if isinstance(module, kind))
    return _layer(kind, **{name: getattr(module, name) for name in (*_SHARED, *_OWN[kind])})


def cell_of(module: Any) -> Cell:
    """The cell that `torch.nn.RNNCell`, `GRUCell` or `LSTMCell` computes, over its weights as they are now."""
    kinds = {nn.LSTMCell: cells.LSTM, nn.GRUCell: cells.GRU}
    kinds |= {nn.RNNCell: cells.ElmanReLU if getattr(module, "nonlinearity", "") == "relu" else cells.Elman}
    blank = _cell(next(kinds[k] for k in kinds if isinstance(module, k)), *_sizes(module))
    return blank.over({name: getattr(module, name) for name in blank._parameters})


def _sizes(module: Any) -> tuple[int, int, bool]:
    return module.input_size, module.hidden_size, module.bias


@functools.lru_cache(32)
def _layer(kind: type[nn.RNNBase], **options: Any) -> nn.Module:
    return _LAYERS[kind](**options, device="meta")


@functools.lru_cache(32)
def _cell(kind: type[Cell], input_size: int, hidden_size: int, bias: bool) -> Cell:
    return kind(input_size, hidden_size, bias=bias, device="meta")

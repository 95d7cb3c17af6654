"""Which of torch's recurrent modules computes which cell: the same equations, over weights of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from gateflow.cells.cell import Cell
from gateflow.cells.elman import Elman, ElmanReLU
from gateflow.cells.gru import GRU
from gateflow.cells.lstm import LSTM, ProjectedLSTM

__all__ = ["TORCH_EQUIVALENTS", "TorchEquivalent", "cell_of_layer", "cell_of_single_step"]


class TorchEquivalent(NamedTuple):
    """What torch has for a cell.

    Attributes:
        cell: ours.
        mode: what torch's layers call these equations (`nn.RNNBase.mode`).
        layer: over time; for `RNN_RELU` with `nonlinearity="relu"`, for a projected LSTM with `proj_size`.
        single_step: one step; none where torch has none.
        kernel: the function over time that oneDNN, cuDNN or ATen computes.
    """

    cell: type[Cell]
    mode: str
    # With the sizes first: the base class, which nobody makes, takes its mode before them.
    layer: Any
    single_step: type[nn.RNNCellBase] | None
    kernel: Callable[..., Any]


TORCH_EQUIVALENTS = (
    TorchEquivalent(Elman, "RNN_TANH", nn.RNN, nn.RNNCell, torch.rnn_tanh),
    TorchEquivalent(ElmanReLU, "RNN_RELU", nn.RNN, nn.RNNCell, torch.rnn_relu),
    # torch's GRU resets after the product, as cuDNN does; `FullGRU`, which resets before it, has no equivalent
    TorchEquivalent(GRU, "GRU", nn.GRU, nn.GRUCell, torch.gru),
    TorchEquivalent(LSTM, "LSTM", nn.LSTM, nn.LSTMCell, torch.lstm),
    TorchEquivalent(ProjectedLSTM, "LSTM", nn.LSTM, None, torch.lstm),
)


def cell_of_layer(mode: str) -> type[Cell]:
    """The cell of a layer of torch without projection, by its `mode`.

    Example:
        >>> cell_of_layer(nn.RNN(3, 4, nonlinearity="relu").mode).__name__
        'ElmanReLU'
    """
    return next(each.cell for each in TORCH_EQUIVALENTS if each.mode == mode)


def cell_of_single_step(module: nn.RNNCellBase) -> type[Cell]:
    """The cell that a single step of torch computes.

    Example:
        >>> cell_of_single_step(nn.GRUCell(3, 4)).__name__
        'GRU'
    """
    if isinstance(module, nn.RNNCell):
        return cell_of_layer(f"RNN_{module.nonlinearity.upper()}")
    kinds = ((each.single_step, each.cell) for each in TORCH_EQUIVALENTS)
    return next(cell for kind, cell in kinds if kind is not None and isinstance(module, kind))

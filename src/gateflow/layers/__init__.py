"""Layers: drop-in `RNN`, `GRU`, `LSTM`, and `Recurrent` for any cell."""

from gateflow.layers.allowed import safe_globals
from gateflow.layers.attention import Attended, Attention, PointerGenerator
from gateflow.layers.crf import LinearChainCRF
from gateflow.layers.drop_in import GRU, LSTM, RNN
from gateflow.layers.dropout import LockedDropout
from gateflow.layers.find import cells_in, cells_to_change, has_cells, is_torchs, module_names, without_wrapper
from gateflow.layers.recurrent import Recurrent
from gateflow.layers.skip import Highway, Residual
from gateflow.layers.stack import Stack
from gateflow.layers.transformer import Transformer

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Attended",
    "Attention",
    "Highway",
    "LinearChainCRF",
    "LockedDropout",
    "PointerGenerator",
    "Recurrent",
    "Residual",
    "Stack",
    "Transformer",
    "cells_in",
]
__all__ += ["cells_to_change", "has_cells", "is_torchs", "module_names", "safe_globals", "without_wrapper"]

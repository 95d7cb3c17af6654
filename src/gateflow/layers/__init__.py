"""Layers: drop-in `RNN`, `GRU`, `LSTM`, and `Recurrent` for any cell."""

from gateflow.layers.drop_in import GRU, LSTM, RNN
from gateflow.layers.dropout import LockedDropout
from gateflow.layers.find import cells_in
from gateflow.layers.recurrent import Recurrent
from gateflow.layers.skip import Highway, Residual
from gateflow.layers.stack import Stack

__all__ = ["GRU", "LSTM", "RNN", "Highway", "LockedDropout", "Recurrent", "Residual", "Stack", "cells_in"]

"""Recurrent networks for PyTorch: write a cell as its equations and train it on real text.

The names below are the public ones; each has a docstring with its equation, shapes and an example.
"""

from gateflow import cells, errors, layers, recurrence, remedies
from gateflow.cells import Cell
from gateflow.layers import GRU, LSTM, RNN, Recurrent

__version__ = "0.1.0"
__all__ = ["GRU", "LSTM", "RNN", "Cell", "Recurrent", "cells", "errors", "layers", "recurrence", "remedies"]

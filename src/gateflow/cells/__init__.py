"""Cells: the equations are the code. One family a file; `Cell` is what they are all made of."""

from gateflow.cells.cell import Cell, Gate
from gateflow.cells.elman import Elman, ElmanReLU, IndRNN
from gateflow.cells.gru import GRU, FullGRU, LayerNormGRU, MinimalGatedUnit, SimplifiedGRU
from gateflow.cells.irregular import GRUD, CfC
from gateflow.cells.lstm import LSTM, CoupledLSTM, LayerNormLSTM, PeepholeLSTM, ProjectedLSTM
from gateflow.cells.registry import get, name_of, names, register
from gateflow.cells.variants import CIFG, FGR, NFG, NIAF, NIG, NOAF, NOG, NP

__all__ = [
    "CIFG",
    "FGR",
    "GRU",
    "GRUD",
    "LSTM",
    "NFG",
    "NIAF",
    "NIG",
    "NOAF",
    "NOG",
    "NP",
    "Cell",
    "CfC",
    "CoupledLSTM",
    "Elman",
    "ElmanReLU",
    "FullGRU",
    "Gate",
    "IndRNN",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinimalGatedUnit",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "SimplifiedGRU",
    "get",
    "name_of",
    "names",
    "register",
]

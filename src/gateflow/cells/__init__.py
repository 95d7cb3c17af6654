"""Cells: the equations are the code. One family a file; `Cell` is what they are all made of."""

from gateflow.cells.cell import Cell, Gate
from gateflow.cells.elman import Elman, ElmanReLU, IndRNN
from gateflow.cells.gru import GRU, MUT1, FullGRU, LayerNormGRU, LiGRU, MinimalGatedUnit, SimplifiedGRU
from gateflow.cells.highway import RHN
from gateflow.cells.irregular import GRUD, CfC
from gateflow.cells.lstm import LSTM, CoupledLSTM, LayerNormLSTM, PeepholeLSTM, ProjectedLSTM
from gateflow.cells.multiplicative import MultiplicativeLSTM
from gateflow.cells.one_gate import JANET, STAR, MinGRU
from gateflow.cells.registry import get, name_of, names, register
from gateflow.cells.variants import CIFG, FGR, NFG, NIAF, NIG, NOAF, NOG, NP
from gateflow.cells.xlstm import SLSTM

__all__ = [
    "CIFG",
    "FGR",
    "GRU",
    "GRUD",
    "JANET",
    "LSTM",
    "MUT1",
    "NFG",
    "NIAF",
    "NIG",
    "NOAF",
    "NOG",
    "NP",
    "RHN",
    "SLSTM",
    "STAR",
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
    "LiGRU",
    "MinGRU",
    "MinimalGatedUnit",
    "MultiplicativeLSTM",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "SimplifiedGRU",
    "get",
    "name_of",
    "names",
    "register",
]

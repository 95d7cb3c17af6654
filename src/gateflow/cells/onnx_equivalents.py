"""Which of ONNX's recurrent operators computes which cell, and how its weights lie there.

ONNX (https://onnx.ai/onnx/operators/) fuses gates in an order of its own: `iofc` for LSTM, `zrh` for GRU. In its GRU an
open `z` keeps, where an open `update` of `FullGRU` overwrites: `σ(-a) = 1 - σ(a)`, so that gate's weights change sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gateflow.cells.cell import Cell
from gateflow.cells.elman import Elman, ElmanReLU
from gateflow.cells.gru import GRU, FullGRU
from gateflow.cells.lstm import LSTM, PeepholeLSTM
from gateflow.cells.variants import NP

__all__ = ["ONNX_EQUIVALENTS", "OnnxEquivalent"]


class OnnxEquivalent(NamedTuple):
    """What ONNX has for a cell.

    Attributes:
        cell: ours.
        operator: ONNX's.
        gates: ours in ONNX's order, each with the sign of its weights there.
        attributes: of the operator; those that are lists are for one direction.
        peepholes: ours in ONNX's order, `iof`.
    """

    cell: type[Cell]
    operator: str
    gates: tuple[tuple[str, int], ...]
    attributes: Mapping[str, Any]
    peepholes: tuple[str, ...] = ()

    def fused(self, cell: Cell, weight: Tensor) -> Tensor:
        """A fused weight or bias of ours in ONNX's order.

        Example:
            >>> gru = next(each for each in ONNX_EQUIVALENTS if each.cell is GRU)
            >>> gru.fused(GRU(1, 1), torch.tensor([1.0, 2.0, 3.0]))  # r z n  →  z r h
            tensor([2., 1., 3.])
        """
        pieces = [weight[cell.gate_rows(gate)] for gate, _ in self.gates]
        return torch.cat([-p if sign < 0 else p for p, (_, sign) in zip(pieces, self.gates, strict=True)])

    def unfused(self, weight: Tensor) -> Tensor:
        """A fused weight or bias of ONNX in our order.

        Example:
            >>> gru = next(each for each in ONNX_EQUIVALENTS if each.cell is FullGRU)
            >>> gru.unfused(torch.tensor([2.0, 1.0, 3.0]))
            tensor([-2.,  1.,  3.])
        """
        pieces = dict(zip(self.gates, weight.chunk(len(self.gates)), strict=True))
        ours: Sequence[str] = self.cell.gates
        signed = {gate: -piece if sign < 0 else piece for (gate, sign), piece in pieces.items()}
        return torch.cat([signed[gate] for gate in ours])


_IOFC = (("input", 1), ("output", 1), ("forget", 1), ("content", 1))

ONNX_EQUIVALENTS = (
    OnnxEquivalent(Elman, "RNN", (("content", 1),), {"activations": ("Tanh",)}),
    OnnxEquivalent(ElmanReLU, "RNN", (("content", 1),), {"activations": ("Relu",)}),
    OnnxEquivalent(GRU, "GRU", (("update", 1), ("reset", 1), ("content", 1)), {"linear_before_reset": 1}),
    OnnxEquivalent(FullGRU, "GRU", (("update", -1), ("reset", 1), ("content", 1)), {"linear_before_reset": 0}),
    OnnxEquivalent(LSTM, "LSTM", _IOFC, {}),
    OnnxEquivalent(NP, "LSTM", _IOFC, {}),
    OnnxEquivalent(PeepholeLSTM, "LSTM", _IOFC, {}, ("peephole_input", "peephole_output", "peephole_forget")),
)

"""gateflow, on whatever path it chooses for the cell."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.cases import Problem
from gateflow.benchmarking.peers import Sequences, inference, streaming, training
from gateflow.benchmarking.timing import Call


def build(problem: Problem) -> Call:
    """The layer of the problem itself."""
    if problem.case.mode == "step":
        assert isinstance(problem.x, torch.Tensor)
        return streaming(problem.layer, problem.x)
    return over_sequences(problem.layer, problem)


def over_sequences(layer: nn.Module, problem: Problem) -> Call:
    """Training or inference of any module that is called as torch's are, in the precision of the case."""
    narrowed = Narrowed(layer) if problem.case.precision == "bf16" else layer
    if problem.case.mode == "inference":
        return inference(narrowed, problem.x)
    return training(narrowed, problem.x, problem.cotangent)


class Narrowed(nn.Module):
    """A layer whose products are in bf16, as a user asks for it: the forward pass under autocast."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Sequences):
        # Inside of the timed call: casting the weights is part of what it costs.
        with torch.autocast("cpu", torch.bfloat16):
            return self.layer(x)

"""`torch.nn`: RNN, GRU, LSTM on oneDNN or ATen, and their single-step cells. A `kin` has other equations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cases import Absent, Problem
from benchmarks.peers import ours
from gateflow.benchmarking.timing import Call


def build(problem: Problem) -> Call:
    """Torch's layer of that cell, or of the nearest one."""
    subject, shape = problem.subject, problem.case.shape
    if subject.layer is None or subject.one_step is None:
        raise Absent("torch has no layer with these equations, nor a near one")
    if problem.case.mode == "step":
        assert isinstance(problem.x, Tensor)
        return _streaming(_loaded(subject.one_step(shape.I, shape.H), problem, ""), problem.x)
    return ours.over_sequences(_loaded(subject.layer(shape.I, shape.H), problem, "_l0"), problem)


def _loaded(module: nn.Module, problem: Problem, suffix: str) -> nn.Module:
    # With other equations there is no place for our weights.
    if not problem.subject.kin:
        module.load_state_dict({name + suffix: weight for name, weight in problem.weights.items()})
    return module


def _streaming(cell: nn.Module, x: Tensor) -> Call:
    steps = x.unbind(0)

    def call() -> Tensor:
        state: Any = None
        with torch.no_grad():
            for x_t in steps:
                state = cell(x_t, state)
        return state[0] if isinstance(state, tuple) else state

    return call

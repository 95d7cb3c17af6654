"""Every cell that comes along has the fast adjoint; that it is right, `test_reach` shows."""

import pytest
import torch

import gateflow
from gateflow import cells
from gateflow.flow.adjoint import adjoint_of
from gateflow.flow.adjoint.unit_wise import UnitWise
from gateflow.flow.capture import trace_model


# Those that take elapsed times multiply a part of their row, which `Tape` does not know for the input.
@pytest.mark.parametrize("name", [name for name in cells.names() if not cells.get(name).takes_dt])
@pytest.mark.parametrize("zoneout", [0.0, 0.3])
def test_every_cell_has_the_fast_adjoint(name, zoneout):
    model = gateflow.Recurrent(name, 3, 4, zoneout=zoneout, dtype=torch.float64)
    (replay,) = trace_model(model, torch.randn(5, 2, 3, dtype=torch.float64)).replays
    assert isinstance(adjoint_of(replay), UnitWise)


def test_a_step_that_rolls_its_units_has_not():
    class Rolling(gateflow.Cell):
        states = ("h",)
        gates = ("content",)

        def step(self, x, h):
            return torch.tanh(self.content(h, x)) + h.roll(1, dims=-1)

    (replay,) = trace_model(gateflow.Recurrent(Rolling, 3, 4), torch.randn(5, 2, 3)).replays
    assert not isinstance(adjoint_of(replay), UnitWise)

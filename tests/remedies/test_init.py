"""Initial weights: their formulas, on every layer and direction, and what they do to a gradient."""

import pytest
import torch
from torch import nn

import gateflow
from gateflow import Recurrent
from gateflow.errors import ConfigError
from gateflow.remedies import init

LAG = 100


@pytest.mark.parametrize("layer", [gateflow.LSTM(3, 8, 2, bidirectional=True), nn.GRU(3, 8, 2, bidirectional=True)])
def test_orthogonal_in_every_gate_layer_and_direction(layer):
    init.orthogonal(layer)
    for name in ("l0", "l0_reverse", "l1", "l1_reverse"):
        for block in getattr(layer, f"weight_hh_{name}").split(8):
            torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)


def test_identity():
    layer = gateflow.RNN(3, 8, 2, nonlinearity="relu")
    init.identity(layer)
    for k in (0, 1):
        assert torch.equal(getattr(layer, f"weight_hh_l{k}"), torch.eye(8))
        assert not getattr(layer, f"bias_ih_l{k}").any()
        assert not getattr(layer, f"bias_hh_l{k}").any()
        assert getattr(layer, f"weight_ih_l{k}").abs().max() < 0.01


def keeping(layer, name, gate):
    """Bias of a gate's sum, with the sign under which the gate keeps."""
    cell = layer.cells[0]
    if f"norm_{gate}" in cell.norms:
        return getattr(cell, f"norm_{gate}_bias") * cell.keeps[gate]
    rows = cell.gate_rows(gate)
    # A gate that sees the input alone has one bias.
    bias = cell.bias_ih[rows] + (cell.bias_hh[rows] if gate in cell.gates else 0)
    return bias * cell.keeps[gate]


KEEPERS = [n for n in gateflow.cells.names() if gateflow.cells.get(n).keeps]


@pytest.mark.parametrize("name", KEEPERS)
def test_forget_bias_opens_the_gate_that_keeps(name):
    layer = Recurrent(name, 3, 8)
    init.forget_bias(layer, 2.0)
    main = next(iter(layer.cells[0].keeps))
    assert torch.equal(keeping(layer, name, main), torch.full((8,), 2.0))


@pytest.mark.parametrize("name", KEEPERS)
def test_chrono_spreads_the_memories_over_the_lags(name):
    layer = Recurrent(name, 3, 400)
    init.chrono(layer, LAG)
    for gate in layer.cells[0].keeps:
        lags = keeping(layer, name, gate).exp()
        assert lags.min() >= 1
        assert lags.max() <= LAG - 1
        assert 40 < lags.mean() < 60, "uniform over 1 to 99"
    signs = {gate: keeping(layer, name, gate) for gate in layer.cells[0].keeps}
    assert len({tuple(s.tolist()) for s in signs.values()}) == 1, "b_i = -b_f, unit by unit"


@pytest.mark.parametrize("name", ["lstm", "gru", "full_gru", "simplified_gru", "minimal_gated_unit", "peephole_lstm"])
def test_chrono_lets_a_gradient_through_that_the_default_does_not(name):
    reach = {}
    for remedy in ("default", "chrono"):
        torch.manual_seed(0)
        layer = Recurrent(name, 3, 16)
        if remedy == "chrono":
            init.chrono(layer, LAG)
        start = [tuple(torch.zeros(4, n, requires_grad=True) for n in layer.cells[0].state_sizes.values())]
        y, _ = layer(torch.randn(60, 4, 3), start)
        reach[remedy] = torch.cat(torch.autograd.grad(y[-1].sum(), start[0])).norm()
    assert reach["chrono"] > 1e4 * reach["default"]


def test_wrong_use_is_refused():
    with pytest.raises(ConfigError, match="RNN|Elman has no gate that keeps"):
        init.chrono(gateflow.RNN(3, 4), LAG)
    with pytest.raises(ConfigError, match="built with bias=False"):
        init.forget_bias(gateflow.LSTM(3, 4, bias=False))
    with pytest.raises(ConfigError, match="identity is for cells with one gate .* LSTM has 4"):
        init.identity(gateflow.LSTM(3, 4))
    with pytest.raises(ConfigError, match="has no recurrent matrix"):
        init.orthogonal(Recurrent("indrnn", 3, 4))
    with pytest.raises(ConfigError, match="1 <= min_lag <= max_lag - 1"):
        init.chrono(gateflow.LSTM(3, 4), 1)
    with pytest.raises(ConfigError, match="no recurrent layer"):
        init.orthogonal(nn.Linear(3, 3))

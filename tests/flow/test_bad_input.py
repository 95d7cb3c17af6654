"""What cannot be measured is said in words, before anything is allocated."""

import pytest
import torch
from torch import nn

import gateflow
from gateflow import flow
from gateflow.errors import FlowError, NonFiniteError

X = torch.randn(6, 2, 3)
INSTRUMENTS = [flow.reach, flow.terms, flow.lyapunov, flow.gates]


@pytest.fixture(params=INSTRUMENTS, ids=lambda f: f.__name__)
def instrument(request):
    return request.param


def test_no_recurrent_layer(instrument):
    with pytest.raises(FlowError, match="no recurrent layer of Linear ran"):
        instrument(nn.Linear(3, 2), X)


def test_one_step(instrument):
    with pytest.raises(FlowError, match="have one step"):
        instrument(nn.LSTM(3, 4), X[:1])


def test_only_padding(instrument):
    layer = gateflow.Recurrent("lstm", 3, 4)
    with pytest.raises(FlowError, match="all lengths are 0"):
        instrument(layer, X, lambda m, x: m(x, lengths=[0, 0])[0].sum())


def test_nan_weights(instrument):
    model = nn.Sequential(nn.LSTM(3, 4))
    with torch.no_grad():
        model[0].weight_hh_l0[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="0.weight_hh_l0"):
        instrument(model, X)


def test_nan_in_the_batch(instrument):
    with pytest.raises(NonFiniteError, match="batch"):
        instrument(nn.LSTM(3, 4), X * torch.inf)


def test_a_detached_loss(instrument):
    with pytest.raises(FlowError, match="does not depend on any recurrent layer"):
        instrument(nn.LSTM(3, 4), X, lambda m, x: m(x)[0].detach().sum())


def test_a_loss_that_is_no_tensor(instrument):
    with pytest.raises(FlowError, match="must return a tensor"):
        instrument(nn.LSTM(3, 4), X, lambda m, x: m(x))


def test_targets_in_the_batch_but_no_loss(instrument):
    with pytest.raises(FlowError, match="leave the targets out, or give loss"):
        instrument(nn.Sequential(nn.LSTM(3, 4)), (X, torch.zeros(2), 1))


def test_dropout_inside_torchs_layer_is_left_out_and_said(instrument, caplog):
    layer = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    with caplog.at_level("INFO", "gateflow"):
        found = str(instrument(layer, X).to_dict())
    assert "without the dropout between the layers of LSTM (0.5)" in caplog.text
    assert (layer.dropout, layer.training) == (0.5, True)
    caplog.clear()
    with caplog.at_level("INFO", "gateflow"):
        instrument(layer.eval(), X)
    assert not caplog.text
    layer.train().dropout = 0.0
    assert str(instrument(layer, X).to_dict()) == found


def test_frozen_weights_are_measured_all_the_same(instrument):
    layer, frozen = nn.LSTM(3, 4), nn.LSTM(3, 4).requires_grad_(False)
    frozen.load_state_dict(layer.state_dict())
    one, other = (instrument(m, X).to_dict() for m in (layer, frozen))
    assert str(one) == str(other)
    assert not any(p.requires_grad for p in frozen.parameters())


def test_under_no_grad(instrument):
    with torch.no_grad():
        instrument(nn.LSTM(3, 4), X)


@pytest.mark.parametrize("measure", [flow.reach, flow.terms])
def test_too_big_for_the_memory(measure):
    with pytest.raises(FlowError, match=r"needs about .* of memory and 10 MiB are at hand; take fewer\s+rows"):
        measure(nn.LSTM(3, 64), torch.randn(200, 16, 3), memory_limit=10 * 2**20)


@pytest.mark.parametrize("measure", [flow.reach, flow.terms])
def test_targets_that_are_none(measure):
    with pytest.raises(FlowError, match="no loss enters there; it does at step 5"):
        measure(nn.GRU(3, 4), X, lambda m, x: m(x)[0][-1].sum(), targets=[2])
    with pytest.raises(FlowError, match="at least 1"):
        measure(nn.GRU(3, 4), X, targets=0)


def test_a_weight_that_is_not_there():
    with pytest.raises(FlowError, match="no recurrent layer of the model has a weight 'peephole_forget'"):
        flow.terms(nn.LSTM(3, 4), X, weight="peephole_forget")


def test_a_gradient_of_exactly_zero():
    with pytest.raises(FlowError, match="exactly zero"):
        flow.reach(nn.LSTM(3, 4), X, lambda m, x: m(x)[0].clamp(min=2).sum())


@pytest.mark.parametrize("instrument", [flow.reach, flow.terms, flow.lyapunov, flow.gates, flow.diagnose])
def test_a_batch_without_rows_is_refused(instrument):
    with pytest.raises(FlowError, match="no row on this batch"):
        instrument(nn.LSTM(3, 3), torch.zeros(5, 0, 3))


@pytest.mark.parametrize("instrument", [flow.reach, flow.terms, flow.lyapunov, flow.gates, flow.diagnose])
def test_buffers_are_afterwards_what_they_were(instrument):
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), gateflow.GRU(3, 4))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    instrument(model, torch.randn(5, 2, 3), lambda model, x: model(x)[0].square().sum())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())

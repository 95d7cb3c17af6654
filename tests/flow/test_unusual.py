"""Models with a twist: 16-bit weights, weights that layers share, models that torch has compiled."""

import copy

import pytest
import torch
from torch import nn

import gateflow
from gateflow.flow import diagnose
from gateflow.flow.adjoint import reference_gradients
from gateflow.flow.capture import evaluate
from gateflow.training.omega import omega

INPUTS, H = 4, 8


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [gateflow.LSTM, gateflow.GRU, nn.LSTM, nn.RNN])
def test_a_16_bit_model_has_the_numbers_of_the_same_model_in_float32(kind, dtype):
    torch.manual_seed(0)
    narrow = kind(INPUTS, H, 2).to(dtype)
    wide, batch = copy.deepcopy(narrow).float(), torch.randn(20, 2, INPUTS).to(dtype)
    found, wanted = diagnose(narrow, batch, needed_lag=15), diagnose(wide, batch.float(), needed_lag=15)
    assert found.context["dtype"] == str(dtype).removeprefix("torch.")
    assert [(f.name, f.where) for f in found.findings] == [(f.name, f.where) for f in wanted.findings]
    for name, layer in wanted.reach.layers.items():
        assert abs(found.reach.layers[name].horizon - layer.horizon) <= 1
        assert found.reach.layers[name].left_at(10) == pytest.approx(layer.left_at(10), rel=0.1)
        assert found.lyapunov.layers[name].largest == pytest.approx(wanted.lyapunov.layers[name].largest, abs=0.02)
    assert found.terms.error < 0.05  # of autograd's own gradient, which is 16-bit
    assert [row.name for row in found.what_if.rows] == [row.name for row in wanted.what_if.rows]
    for a, b in zip(found.what_if.rows, wanted.what_if.rows, strict=True):
        assert a.left == pytest.approx(b.left, rel=0.2)


def two_layers(kind):
    layer = kind(H, H, 2)
    layer.weight_hh_l1 = layer.weight_hh_l0
    return layer


class TiedCells(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.a, self.b = kind(H, H), kind(H, H)
        self.b.weight_hh = self.a.weight_hh

    def forward(self, x):
        h, outputs = (x.new_zeros(x.shape[1], H), x.new_zeros(x.shape[1], H)), []
        for x_t in x:
            a = self.a(x_t, h[0])
            b = self.b(a, h[1])
            h, outputs = (a, b), [*outputs, b]
        return torch.stack(outputs)


TIED = {
    "ours": lambda: two_layers(gateflow.GRU),
    "theirs": lambda: two_layers(nn.GRU),
    "rnn": lambda: two_layers(gateflow.RNN),
    "their cells": lambda: TiedCells(nn.GRUCell),
}


@pytest.mark.parametrize("kind", TIED)
def test_a_weight_that_layers_share_has_a_part_in_each(kind):
    """The parts add up to autograd's gradient of the one parameter; the same model untied has the same numbers."""
    torch.manual_seed(0)
    tied, batch = TIED[kind]().double(), torch.randn(20, 2, H, dtype=torch.float64)
    loose = copy.deepcopy(tied)
    for module in loose.modules():
        for name, weight in list(module._parameters.items()):
            setattr(module, name, nn.Parameter(weight.detach().clone()))
    found, wanted = diagnose(tied, batch, needed_lag=15), diagnose(loose, batch, needed_lag=15)
    assert len(found.terms.layers) == 2
    assert found.terms.error < 1e-10
    for name, layer in wanted.terms.layers.items():
        torch.testing.assert_close(found.terms.layers[name].norms, layer.norms)
        assert found.terms.layers[name].gradient_norm == pytest.approx(layer.gradient_norm)
        assert found.reach.layers[name].horizon == wanted.reach.layers[name].horizon
    parts = reference_gradients(tied, batch, None, 0).layers
    (shared,) = [n for n, p in tied.named_parameters() if n.endswith(("weight_hh_l0", "a.weight_hh"))]
    whole = torch.autograd.grad(evaluate(tied, batch, None, 0), dict(tied.named_parameters())[shared])[0]
    torch.testing.assert_close(sum(layer["weight_hh"] for layer in parts.values()), whole)


WRAPPED = {
    "wrapped": lambda layer: torch.compile(layer, backend="eager"),
    "wrapped inside": lambda layer: nn.Sequential(torch.compile(layer, backend="eager")),
    "in place": lambda layer: layer.compile(backend="eager") or layer,
}


@pytest.mark.parametrize("kind", [gateflow.LSTM, nn.LSTM])
@pytest.mark.parametrize("how", WRAPPED)
def test_a_compiled_model_has_the_numbers_and_names_of_the_plain_one(how, kind):
    torch.manual_seed(0)
    plain, batch = kind(INPUTS, H, 2), torch.randn(20, 2, INPUTS)
    compiled = WRAPPED[how](copy.deepcopy(plain))
    compiled(batch)  # compiled before
    plain = nn.Sequential(plain) if isinstance(compiled, nn.Sequential) else plain
    found, wanted = diagnose(compiled, batch, needed_lag=15), diagnose(plain, batch, needed_lag=15)
    assert list(found.reach.layers) == list(wanted.reach.layers)
    for name, layer in wanted.reach.layers.items():
        torch.testing.assert_close(found.reach.layers[name].matrix, layer.matrix, equal_nan=True)
    assert [(f.name, f.where, f.severity) for f in found.findings] == [
        (f.name, f.where, f.severity) for f in wanted.findings
    ]
    assert [(r.horizon, r.left) for r in found.what_if.rows] == [(r.horizon, r.left) for r in wanted.what_if.rows]


def test_the_penalty_of_a_16_bit_model_reaches_its_weights():
    torch.manual_seed(0)
    narrow = gateflow.RNN(INPUTS, H).bfloat16()
    wide, batch = copy.deepcopy(narrow).float(), torch.randn(20, 2, INPUTS).bfloat16()

    def last(model, x):
        return model(x)[0][-1].square().sum()

    found, wanted = omega(narrow, batch, last), omega(wide, batch.float(), last)
    found.backward()
    assert found.item() == pytest.approx(wanted.item(), rel=0.05)
    assert narrow.weight_hh_l0.grad.dtype == torch.bfloat16
    assert bool(narrow.weight_hh_l0.grad.abs().sum() > 0)

"""Lyapunov exponents, judged by eigenvalues and by computations in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import gateflow
from gateflow import flow

F64 = torch.float64


class Linear(gateflow.Cell):
    states = ("h",)
    gates = ("content",)

    def step(self, x, h):
        return self.content(h, x)


def test_a_linear_network_has_the_logarithms_of_its_eigenvalues():
    eigenvalues = torch.tensor([1.1, -0.9, 0.6, 0.2], dtype=F64)
    layer = gateflow.Recurrent(Linear, 3, 4, dtype=F64)
    vectors = torch.randn(4, 4, dtype=F64)  # not orthogonal
    with torch.no_grad():
        layer.weight_hh_l0.copy_(vectors @ eigenvalues.diag() @ vectors.inverse())
    found = flow.lyapunov(layer, torch.randn(200, 2, 3, dtype=F64), warm_up=120).layers["l0"]
    torch.testing.assert_close(found.exponents, eigenvalues.abs().log(), rtol=0, atol=1e-6)
    assert found.regime == "exploding"
    assert found.memory == math.inf


def jacobians(cell, x):
    """Of a tanh network, in numpy, for one row `x [T, I]`."""
    W, U = cell.weight_hh.detach().numpy(), cell.weight_ih.detach().numpy()
    b, h = (cell.bias_ih + cell.bias_hh).detach().numpy(), np.zeros(len(W))
    for x_k in x.numpy():
        h = np.tanh(W @ h + U @ x_k + b)
        yield (1 - h**2)[:, None] * W


def test_a_random_tanh_network_against_numpy():
    layer = nn.RNN(3, 6, dtype=F64)
    with torch.no_grad():
        layer.weight_hh_l0.normal_(0, 1.5 / math.sqrt(6))
    x = 0.1 * torch.randn(3000, 1, 3, dtype=F64)
    cell = next(iter(gateflow.layers.cells_in(layer).values()))
    product = list(jacobians(cell, x[:, 0]))
    whole = flow.lyapunov(layer, x, warm_up=0).layers["l0"].exponents
    # Exactly: the exponents add up to the mean logarithm of the determinants.
    assert whole.sum().item() == pytest.approx(np.mean([np.linalg.slogdet(J)[1] for J in product]), abs=1e-9)
    # Each one: Benettin's method, forward in time, where this library goes backward; they meet as T grows.
    q, logs = np.eye(6), np.zeros(6)
    for J in product:
        q, r = np.linalg.qr(J @ q)
        logs += np.log(np.abs(np.diag(r)))
    np.testing.assert_allclose(whole.numpy(), np.sort(logs / len(product))[::-1], atol=5e-3)
    # And the singular values of a finite product, which neither method forms.
    found = flow.lyapunov(layer, x[:40], warm_up=0).layers["l0"].exponents.numpy()
    values = np.linalg.svd(np.linalg.multi_dot(product[39::-1]), compute_uv=False)
    np.testing.assert_allclose(found[:3], np.log(values[:3]) / 40, atol=0.1)


def test_freezing_the_memory_cell_is_blind_to_the_forget_gate():
    torch.manual_seed(1)
    x, full, frozen = torch.randn(300, 2, 8), [], []
    for bias in (0.0, 1.0, 3.0):
        layer = gateflow.LSTM(8, 32)
        gateflow.remedies.init.forget_bias(layer, bias)
        full.append(flow.lyapunov(layer, x).layers["l0"].largest)
        frozen.append(flow.lyapunov(layer, x, freeze=("c",)).layers["l0"].largest)
    assert full[0] < -0.3 < full[1] < -0.1 < full[2] < 0  # memories of some 2, 6 and 100 steps
    assert max(frozen) < -1.5
    assert max(frozen) - min(frozen) < 0.3


def test_both_directions_layers_and_ragged_rows():
    layer, lengths = gateflow.LSTM(3, 4, 2, bidirectional=True, dtype=F64), [30, 12]
    x = torch.randn(30, 2, 3, dtype=F64)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths)
    found = flow.lyapunov(layer, packed, count=3, warm_up=0)
    alone = flow.lyapunov(layer, x[:12, 1:], count=3, warm_up=0)
    assert list(found.layers) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for name, one in alone.layers.items():
        sums = [r.layers[name].per_row[-1].sum().item() for r in (found, alone)]
        assert one.exponents.shape == (3,)
        assert sums[0] == pytest.approx(sums[1], abs=0.3)  # other random directions to start with


def test_prints_and_turns_into_a_dictionary():
    found = flow.lyapunov(nn.LSTM(3, 4), torch.randn(50, 2, 3))
    assert "vanishing" in str(found)
    assert found.to_dict()["layers"][0]["regime"] == "vanishing"
    with pytest.raises(gateflow.errors.FlowError, match="freeze"):
        flow.lyapunov(nn.GRU(3, 4), torch.randn(50, 2, 3), freeze=("c",))

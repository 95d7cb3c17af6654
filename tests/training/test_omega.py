"""Ω of a model, judged by a loop over its steps whose error signals autograd gives one by one."""

import pytest
import torch
from torch import nn

from gateflow import Recurrent, cells
from gateflow.errors import FlowError
from gateflow.flow import reach
from gateflow.remedies import penalties
from gateflow.training.omega import omega

T, B, I, H = 6, 3, 2, 4


def last_step(model, x):
    return model(x)[0][-1].square().sum()


@pytest.mark.parametrize(("name", "layer"), [("elman", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_states_and_error_signals_are_those_of_a_loop(name, layer):
    model, x = layer(I, H).double(), torch.randn(T, B, I, dtype=torch.float64)
    cell = cells.get(name)(I, H).double()
    cell.load_state_dict({key.removesuffix("_l0"): weight for key, weight in model.state_dict().items()})
    state = cell.initial_state(x)
    states = [state]
    for x_k in x:
        state = tuple(part.clone() for part in cell(x_k, state))  # h is made from c: copies make them two variables
        states.append(state)
    loss = state[0].square().sum()
    errors = [
        torch.autograd.grad(loss, after, retain_graph=True, materialize_grads=True, allow_unused=True)
        for after in states[1:]
    ]
    before, after = (tuple(torch.stack(part) for part in zip(*steps, strict=True)) for steps in (states[:-1], errors))
    wanted = penalties.omega(cell, x, before, after)
    found = omega(model, x, last_step)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
    found.backward()
    wanted.backward()
    for key in ("weight_hh", "weight_ih", "bias_ih"):
        torch.testing.assert_close(getattr(model, f"{key}_l0").grad, getattr(cell, key).grad, rtol=1e-8, atol=1e-12)


def test_layers_and_directions_add_up_and_the_loss_is_not_differentiated():
    model, x = nn.RNN(I, H, num_layers=2, bidirectional=True), torch.randn(T, B, I)
    found = omega(model, x, lambda model, x: model(x)[0].square().sum())
    assert all(weight.grad is None for weight in model.parameters())
    found.backward()
    assert all(bool(w.grad.abs().sum() > 0) for name, w in model.named_parameters() if "weight_hh" in name)


def test_a_chaotic_network_has_an_omega_though_no_other_path_agrees_with_its_replay():
    model = Recurrent("elman", I, 50)
    with torch.no_grad():
        model.weight_hh_l0.normal_(std=5 / 50**0.5)
    x = torch.randn(200, B, I)
    with pytest.raises(FlowError, match="Chaos"):
        reach(model, x, last_step)
    assert omega(model, x, last_step).isfinite()

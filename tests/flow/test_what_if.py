"""Other initial weights on the same batch: what is drawn, what is measured, and that the model gets its own back."""

import pytest
import torch
from torch import nn

import gateflow
from gateflow import flow
from gateflow.remedies import init

T, B, INPUTS, H = 30, 2, 3, 8
NAMES = {
    "lstm": ["as it is", "default", "forget bias 1", "chrono", "orthogonal"],
    "full_gru": ["as it is", "default", "forget bias 1", "chrono", "orthogonal"],
    "elman_relu": ["as it is", "default", "orthogonal", "identity"],
    "indrnn": ["as it is", "default"],
}


def x():
    return torch.randn(T, B, INPUTS)


@pytest.mark.parametrize("cell", NAMES)
def test_rows_are_those_that_apply(cell):
    table = flow.what_if(gateflow.Recurrent(cell, INPUTS, H), x())
    assert [row.name for row in table.rows] == NAMES[cell]


@pytest.mark.parametrize("build", [lambda: nn.LSTM(INPUTS, H), lambda: gateflow.Recurrent("lstm", INPUTS, H)])
def test_each_row_is_what_the_instruments_say_of_a_model_with_those_weights(build):
    model, batch = build(), x()
    table = {row.name: row for row in flow.what_if(model, batch, needed_lag=20).rows}
    for name, change in {"forget bias 1": init.forget_bias, "chrono": lambda m: init.chrono(m, max_lag=20)}.items():
        torch.manual_seed(0)
        model.reset_parameters()
        change(model)
        found = flow.reach(model, batch, targets=16)
        assert table[name].horizon == found.horizon
        assert table[name].left == pytest.approx(max(layer.left_at(20) for layer in found.layers.values()))


def test_the_saturation_is_that_of_the_memory():
    model = nn.LSTM(INPUTS, H)
    init.forget_bias(model, 6.0)
    table = flow.what_if(model, 3 * x())
    assert table.rows[0].saturated > 0.2 > table.rows[1].saturated


def test_an_lstm_starts_short_and_chrono_opens_it():
    rows = {row.name: row for row in flow.what_if(nn.LSTM(INPUTS, H), x(), needed_lag=25).rows}
    assert rows["default"].horizon < 15 < rows["chrono"].horizon
    assert rows["default"].left < 1e-3 < rows["chrono"].left


def test_tied_and_frozen_weights_come_back_as_they_were():
    model = nn.Sequential(nn.LSTM(INPUTS, H), nn.Module())
    model[1].shared = model[0].weight_hh_l0.requires_grad_(False)
    before = {name: w.clone() for name, w in model.named_parameters(remove_duplicate=False)}
    flow.what_if(model, x(), lambda m, b: m[0](b)[0].sum())
    assert model[1].shared is model[0].weight_hh_l0
    assert not model[0].weight_hh_l0.requires_grad
    assert all(torch.equal(w, before[name]) for name, w in model.named_parameters(remove_duplicate=False))


def test_it_puts_back_what_it_took_when_a_loss_fails():
    model, calls = nn.LSTM(INPUTS, H), []

    def fails_later(m, batch):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return m(batch)[0].sum()

    own = list(model.parameters())
    with pytest.raises(KeyboardInterrupt):
        flow.what_if(model, x(), fails_later)
    assert all(a is b for a, b in zip(own, model.parameters(), strict=True))


def test_none_where_weights_cannot_be_exchanged():
    model = nn.LSTM(INPUTS, H)
    torch.nn.utils.parametrizations.weight_norm(model, "weight_hh_l0")
    assert flow.what_if(model, x()) is None

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(INPUTS, H)

        def forward(self, batch):
            h, outputs = None, []
            for step in batch:
                h = self.cell(step, h)
                outputs.append(h)
            return torch.stack(outputs)

    assert flow.what_if(Loop(), x()) is None
    assert flow.diagnose(Loop(), x()).what_if is None

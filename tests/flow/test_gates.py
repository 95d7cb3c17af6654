"""Gates, judged by the equations written out."""

import json
import math

import pytest
import torch
from torch import nn

import gateflow
from gateflow import cells, flow


def test_an_lstms_gates_are_those_of_its_equations():
    layer, x = nn.LSTM(3, 4, bidirectional=True), torch.randn(6, 2, 3)
    found = flow.gates(layer, x).layers
    assert list(found) == ["l0", "l0_reverse"]
    y, _ = layer(x)
    before = {
        "": torch.cat([torch.zeros(1, 2, 4), y[:-1, :, :4]]),
        "_reverse": torch.cat([y[1:, :, 4:], torch.zeros(1, 2, 4)]),
    }
    for suffix, h in before.items():
        U, W, b, d = (getattr(layer, f"{n}_l0{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        i, f, g, o = (x @ U.T + h @ W.T + b + d).chunk(4, dim=-1)
        wanted = {"input": i.sigmoid(), "forget": f.sigmoid(), "content": g.tanh(), "output": o.sigmoid()}
        result = found[f"l0{suffix}"]
        for name, values in wanted.items():
            torch.testing.assert_close(result.activations[name].values, values)
        lives = math.log(0.5) / f.sigmoid().double().log().mean((0, 1))
        torch.testing.assert_close(result.half_lives, lives)
        assert result.keeper == ("forget", 1)


# What each cell's step squashes, and the gate that its memory hangs on.
NAMES = {
    "elman": (["content"], None),
    "indrnn": (["content"], None),
    "full_gru": (["update", "reset", "content"], ("update", -1)),
    "gru": (["reset", "update", "content"], ("update", 1)),
    "layernorm_gru": (["reset", "update", "content"], ("update", 1)),
    "minimal_gated_unit": (["forget", "content"], ("forget", -1)),
    "layernorm_lstm": (["input", "forget", "content", "output", "state"], ("forget", 1)),
    "peephole_lstm": (["input", "forget", "content", "output", "state"], ("forget", 1)),
    "cifg": (["input", "content", "output", "state"], ("input", -1)),
    "fgr": (["input", "forget", "content", "output", "state"], ("forget", 1)),
}


@pytest.mark.parametrize("name", NAMES)
def test_gates_go_by_the_names_of_the_cell(name):
    found = flow.gates(gateflow.Recurrent(name, 3, 4), torch.randn(6, 2, 3)).layers["l0"]
    assert (sorted(found.activations), found.keeper) == (sorted(NAMES[name][0]), NAMES[name][1])


@pytest.mark.parametrize("name", [name for name in cells.names() if cells.get(name).keeps])
def test_a_gate_set_to_remember_for_ten_steps_does(name):
    layer = gateflow.Recurrent(name, 3, 4)
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    gateflow.remedies.init.forget_bias(layer, -math.log(math.exp(math.log(2) / 10) - 1))
    found = flow.gates(layer, torch.randn(6, 2, 3)).layers["l0"]
    torch.testing.assert_close(found.half_lives, torch.full((4,), 10.0, dtype=torch.float64), rtol=1e-5, atol=0)


def test_saturated_and_dead():
    layer, x = nn.RNN(3, 4, nonlinearity="relu"), torch.randn(6, 2, 3)
    with torch.no_grad():
        layer.bias_ih_l0[:3] = torch.tensor([-100.0, -100.0, -100.0])
    assert flow.gates(layer, x).layers["l0"].activations["content"].dead >= 0.75
    lstm = gateflow.LSTM(3, 4)
    gateflow.remedies.init.forget_bias(lstm, 50.0)
    forget = flow.gates(lstm, x).layers["l0"].activations["forget"]
    assert (forget.low, forget.high) == (0, 1)


def test_padding_does_not_count():
    layer, x = gateflow.GRU(3, 4), torch.randn(6, 2, 3)
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 2])
    values = flow.gates(layer, packed).layers["l0"].activations["update"]
    alone = flow.gates(layer, x[:2, 1:]).layers["l0"].activations["update"]
    assert values.values[2:, 1].isnan().all()
    torch.testing.assert_close(values.values[:2, 1], alone.values[:, 0])
    assert not values.by_step.isnan().any()
    assert 0 < values.mean < 1


def test_prints_and_turns_into_a_dictionary():
    found = flow.gates(gateflow.GRU(3, 4, num_layers=2), torch.randn(6, 2, 3))
    assert "half-life" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["layers"][1]["name"] == "l1"

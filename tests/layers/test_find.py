"""The cells inside any model, torch's own layers included."""

import pytest
import torch
from tests.oracle import assert_close
from torch import nn

import gateflow
from gateflow.errors import ConfigError
from gateflow.layers import cells_in


def test_cells_of_torchs_layers_compute_what_the_layers_compute():
    for layer in (nn.RNN(3, 5), nn.RNN(3, 5, nonlinearity="relu"), nn.GRU(3, 5), nn.LSTM(3, 5, bias=False)):
        (cell,) = cells_in(layer).values()
        state = tuple(torch.randn(2, 5) for _ in cell.states)
        x = torch.randn(2, 3)
        hx = tuple(s[None] for s in state)
        y, _ = layer(x[None], hx if len(hx) > 1 else hx[0])
        assert_close(cell(x, state)[0], y[0], type(layer).__name__)


def test_names_say_where_the_cells_are():
    model = nn.ModuleDict({"a": gateflow.GRU(3, 4, 2), "b": nn.LSTM(3, 4, bidirectional=True)})
    model["c"] = gateflow.cells.Elman(3, 4)
    assert list(cells_in(model)) == ["a.l0", "a.l1", "b.l0", "b.l0_reverse", "c"]


def test_what_is_changed_there_is_changed_in_the_model():
    model = nn.Sequential(nn.LSTM(3, 4))
    with torch.no_grad():
        cells_in(model)["0.l0"].weight_hh.zero_()
    assert not model[0].weight_hh_l0.any()


def test_a_model_without_recurrent_layers_is_refused():
    with pytest.raises(ConfigError, match="Linear has no recurrent layer"):
        cells_in(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="proj_size is not looked into"):
        cells_in(nn.LSTM(3, 4, proj_size=2))

"""What is set on a layer that is built is obeyed from the next call on, or refused with words: nothing is ignored."""

import copy
import dataclasses
import pickle

import pytest
import torch
from tests.oracle import assert_close
from torch import nn

import gateflow
from gateflow.errors import ConfigError, FixedAttributeError
from gateflow.layers.options import Options

T, B, I, H = 6, 4, 3, 5
DROP_INS = {gateflow.RNN: nn.RNN, gateflow.GRU: nn.GRU, gateflow.LSTM: nn.LSTM}
everywhere = pytest.mark.parametrize("kind", DROP_INS)


def run(layer, seed=0):
    torch.manual_seed(seed)
    return layer(torch.ones(T, B, I))[0]


@everywhere
def test_dropout_is_obeyed(kind):
    layer = kind(I, H, 2, dropout=0.9)
    assert not torch.equal(run(layer, 0), run(layer, 1))
    layer.dropout = 0
    assert torch.equal(run(layer, 0), run(layer, 1))
    layer.dropout = 0.5
    assert not torch.equal(run(layer, 0), run(layer, 1))
    assert "dropout=0.5" in repr(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (twin.dropout, twin.options.dropout) == (0.5, 0.5)
        assert torch.equal(run(twin), run(layer))
    with pytest.raises(ConfigError, match="dropout must be a number between 0 and 1"):
        layer.dropout = 1.5
    assert layer.dropout == 0.5


@everywhere
def test_batch_first_is_obeyed_as_by_torch(kind):
    ours, theirs = kind(I, H), DROP_INS[kind](I, H)
    theirs.load_state_dict(ours.state_dict())
    ours.batch_first = theirs.batch_first = True
    x = torch.randn(B, T, I)
    assert_close(ours(x)[0], theirs(x)[0], "batch first")


@everywhere
def test_memory_and_training_are_obeyed(kind):
    layer = kind(I, H, 2, dropout=0.5)
    layer.memory = "lean"
    assert layer.options.memory == "lean"
    layer.training = False
    assert torch.equal(run(layer, 0), run(layer, 1))


FIXED = {"input_size": 7, "hidden_size": 7, "num_layers": 3, "bias": False, "bidirectional": True, "proj_size": 2}
FIXED |= {"mode": "GRUB", "num_directions": 2, "output_size": 9, "options": Options(bidirectional=True)}


@pytest.mark.parametrize("name", FIXED)
@everywhere
def test_what_weights_were_made_by_is_refused(kind, name):
    layer = kind(I, H, 2)
    before, wanted = getattr(layer, name), run(layer)
    with pytest.raises(FixedAttributeError, match=r"cannot become .*: the layer was built with .*; build a layer with"):
        setattr(layer, name, FIXED[name])
    assert getattr(layer, name) == before
    setattr(layer, name, before)  # as code does that copies attributes
    assert torch.equal(run(layer), wanted)


def test_the_nonlinearity_is_refused():
    layer = gateflow.RNN(I, H)
    for name, value in {"nonlinearity": "relu", "mode": "RNN_RELU"}.items():
        with pytest.raises(AttributeError, match=f"RNN.{name} cannot become '{value}'"):
            setattr(layer, name, value)


RATES = {"dropout": 0.5, "variational_dropout": 0.5, "weight_dropout": 0.5, "zoneout": 0.5}


@pytest.mark.parametrize("name", RATES)
def test_rates_of_recurrent_are_obeyed(name):
    layer, fresh = (gateflow.Recurrent("lstm", I, H, num_layers=2, **words) for words in ({}, {name: RATES[name]}))
    fresh.load_state_dict(layer.state_dict())
    plain = run(layer)
    setattr(layer, name, RATES[name])
    assert torch.equal(run(layer), run(fresh))
    assert not torch.equal(run(layer), plain)
    setattr(layer, name, 0.0)
    assert torch.equal(run(layer), plain)
    layer.options = dataclasses.replace(layer.options, **{name: RATES[name]})
    assert torch.equal(run(layer), run(fresh))


@pytest.mark.parametrize("name", RATES)
def test_streams_obey_them_too(name):
    layer = gateflow.Recurrent("lstm", I, H, num_layers=2)
    x = torch.ones(B, I)
    with torch.no_grad():
        _, state = layer.step(x)
        plain, _ = layer.step(x, state)
        setattr(layer, name, 0.9)
        torch.manual_seed(0)
        found, _ = layer.step(x, state)
        torch.manual_seed(0)
        wanted, _ = layer.run_step(x, state)
    assert torch.equal(found, wanted)
    assert not torch.equal(found, plain)


STRUCTURE = {"merge": "sum", "skip": "residual", "learn_initial_state": True, "bidirectional": True, "bias": False}
STRUCTURE |= {"num_layers": 2, "input_size": 4, "hidden_size": 6}


@pytest.mark.parametrize("name", STRUCTURE)
def test_structure_of_recurrent_is_refused(name):
    layer = gateflow.Recurrent("lstm", I, H)
    with pytest.raises(FixedAttributeError, match=f"Recurrent.{name} cannot become"):
        setattr(layer, name, STRUCTURE[name])


def test_rates_that_do_not_fit_the_cells_are_refused_and_leave_the_layer_as_it_was():
    layer = gateflow.Recurrent("lstm", I, H)
    with pytest.raises(ConfigError, match="zoneout has 3 rates"):
        layer.zoneout = (0.1, 0.2, 0.3)
    assert layer.zoneout == 0.0


def test_strict_is_obeyed():
    class Sine(gateflow.Cell):
        states, gates = ("h",), ("content",)

        def step(self, x, h):
            return torch.i0(self.content(h, x))

    layer = gateflow.Recurrent(Sine, I, H)
    layer.strict = True
    with pytest.raises(gateflow.errors.PathError, match="strict=True forbids"):
        run(layer)


def test_a_subclass_may_call_a_module_of_its_own_dropout():
    class Encoder(gateflow.Recurrent):
        def __init__(self):
            super().__init__("gru", I, H)
            self.hidden_size, self.dropout = H, nn.Dropout(0.5)

    encoder = Encoder()
    assert isinstance(encoder.dropout, nn.Dropout)
    assert list(dict(encoder.named_children())) == ["dense", "dropout"]
    assert encoder.options.dropout == 0.0


@pytest.mark.parametrize("backend", ["eager"])
def test_a_compiled_layer_obeys_too(backend):
    torch._dynamo.reset()
    layer = gateflow.LSTM(I, H, 2, dropout=0.9)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    assert not torch.equal(run(compiled, 0), run(compiled, 1))
    layer.dropout = 0.0
    assert torch.equal(run(compiled, 0), run(layer, 1))

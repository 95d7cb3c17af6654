"""Every option of a layer stays on the native path, and is there what it is on the reference."""

import pytest
import torch
from tests.oracle import gradients, needs_compiler
from tests.recurrence.case import distance
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gateflow
from gateflow import Recurrent
from gateflow.recurrence import explain, force_path, native

pytestmark = needs_compiler

T, B, I, H = 6, 4, 3, 5

OPTIONS = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "sum": {"bidirectional": True, "merge": "sum"},
    "mean": {"bidirectional": True, "merge": "mean"},
    "mul": {"bidirectional": True, "merge": "mul"},
    "apart": {"bidirectional": True, "merge": None},
    "batch first": {"batch_first": True},
    "without bias": {"bias": False},
    "dropout": {"dropout": 0.3},
    "variational dropout": {"variational_dropout": 0.3},
    "weight dropout": {"weight_dropout": 0.3, "bidirectional": True},
    "zoneout": {"zoneout": 0.3},
    "zoneout of a part": {"zoneout": (0.0, 0.5), "cell": "lstm", "bidirectional": True},
    "residual": {"skip": "residual"},
    "highway": {"skip": "highway"},
    "learned start": {"learn_initial_state": True},
    "mixed cells": {"cell": ["lstm", "full_gru"]},
    "lean": {"memory": "lean", "bidirectional": True},
}


def made(name, **more):
    options = {"cell": "full_gru", "num_layers": 2, "strict": True, **OPTIONS[name], **more}
    cell = options.pop("cell")
    if isinstance(cell, list):
        options.pop("num_layers")
    return Recurrent(cell, I, H, **options)


@pytest.fixture
def calls(monkeypatch):
    """One entry for each run of the operator."""
    made, operator = [], native.recurrence

    def counted(*arguments):
        made.append(arguments)
        return operator(*arguments)

    monkeypatch.setattr(native, "recurrence", counted)
    return made


def everything(layer, x, **given):
    """Outputs, final states and gradients; dropout as if the generator had just been seeded."""
    torch.manual_seed(5)
    y, final = layer(x, **given)
    ys = [y.data] if isinstance(y, PackedSequence) else list(y) if isinstance(y, tuple) else [y]
    outputs = ys + [part for state in final for part in state]
    return [*outputs, *gradients(outputs, layer.parameters())]


def assert_native(layer, x, calls, **given):
    assert set(explain(layer, x).paths) == {"native"}
    found = everything(layer, x, **given)
    assert len(calls) == layer.num_layers * layer.num_directions
    with force_path("reference"):
        wanted = everything(layer, x, **given)
    for a, b in zip(found, wanted, strict=True):
        assert distance(a, b) < 1e-4


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
def test_an_option_runs_on_the_native_path(name, ragged, calls):
    layer = made(name)
    x = torch.randn(B, T, I) if layer.batch_first else torch.randn(T, B, I)
    assert_native(layer, x, calls, **({"lengths": [6, 2, 0, 3]} if ragged else {}))


@pytest.mark.parametrize("name", ["bidirectional", "zoneout", "without bias"])
def test_in_eval_mode(name, calls):
    assert_native(made(name).eval(), torch.randn(T, B, I), calls)


def test_packed_input(calls):
    packed = pack_padded_sequence(torch.randn(T, B, I), [2, 6, 1, 4], enforce_sorted=False)
    layer = made("bidirectional")
    found = everything(layer, packed)[0]
    assert len(calls) == 4
    with force_path("reference"):
        assert distance(found, everything(layer, packed)[0]) < 1e-5


@pytest.mark.parametrize("drop_in", [gateflow.RNN, gateflow.GRU, gateflow.LSTM])
def test_the_drop_ins_too(drop_in, calls):
    layer, theirs = drop_in(I, H, bidirectional=True), getattr(torch.nn, drop_in.__name__)(I, H, bidirectional=True)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(T, B, I)
    assert explain(layer, x).paths == ("native",)
    assert distance(layer(x)[0], theirs(x)[0]) < 1e-5
    assert len(calls) == 2


def test_a_stream_is_the_sequence():
    layer, x, state = made("plain"), torch.randn(T, B, I), None
    wanted, _ = layer(x)
    for x_t, y in zip(x, wanted, strict=True):
        found, state = layer.step(x_t, state)
        assert distance(found, y) < 1e-5

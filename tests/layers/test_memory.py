"""`memory="lean"` gives what the reference loop gives, and autograd holds the states alone."""

import itertools
import shutil

import pytest
import torch
from tests.oracle import assert_close, assert_gradients_close, gradients

import gateflow
from gateflow import Recurrent
from gateflow.backends.cpu import toolchain
from gateflow.errors import ConfigError
from gateflow.recurrence import force_path

T, B, I, H = 7, 4, 3, 5
ROWS_KEPT = {"elman": 0, "lstm": 4, "full_gru": 3}
"""Rows of H numbers per step that "fast" keeps beside the states: one per gate, none where the state tells all."""

pytestmark = pytest.mark.skipif(not any(map(shutil.which, toolchain.LOOKED_FOR)), reason="no C++ compiler on the PATH")


def twins(cell, **options):
    """A layer that keeps all and one that keeps the states, with the same weights."""
    fast, lean = (Recurrent(cell, I, H, memory=memory, dtype=torch.float64, **options) for memory in ("fast", "lean"))
    lean.load_state_dict(fast.state_dict())
    return fast, lean


def run(layer, x, lengths=None, path="native"):
    """Output, final states and gradients, and the bytes that autograd holds in between."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with force_path(path), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, state = layer(x, lengths=lengths)
        results = [y, *itertools.chain(*state)]
        return results, gradients(results, [x, *layer.parameters()]), sum(kept.values())


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "skip": "residual"}], ids=["1", "4"])
@pytest.mark.parametrize("lengths", [None, [7, 2, 0, 5]], ids=["equal", "ragged"])
@pytest.mark.parametrize("cell", ROWS_KEPT)
def test_lean_keeps_the_states_alone_and_computes_the_same(cell, lengths, options):
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    fast, lean = twins(cell, **options)
    results, grads, lean_kept = run(lean, x, lengths)
    wanted, wanted_grads, _ = run(lean, x, lengths, path="reference")
    for k, (a, b) in enumerate(zip(results, wanted, strict=True)):
        assert_close(a, b, f"result {k}")
    assert_gradients_close(grads, wanted_grads, ["x", *(n for n, _ in lean.named_parameters())])
    *_, fast_kept = run(fast, x, lengths)
    lines = T * B if lengths is None else sum(lengths)
    assert fast_kept - lean_kept == len(fast.cells) * ROWS_KEPT[cell] * lines * H * x.element_size()


@pytest.mark.parametrize("drop_in", [gateflow.RNN, gateflow.GRU, gateflow.LSTM])
def test_the_drop_ins_have_it_by_keyword(drop_in):
    layer = drop_in(I, H, memory="lean")
    assert "3, 5, memory='lean'" in repr(layer)
    assert layer.options.memory == "lean"
    assert drop_in(I, H).options.memory == "fast"
    assert "memory" not in repr(drop_in(I, H))
    with pytest.raises(TypeError, match="positional"):
        drop_in(I, H, 1, *[None] * 8, "lean")


@pytest.mark.parametrize("value", ["none", True, None, 0])
def test_other_values_are_refused(value):
    for make in (lambda: gateflow.LSTM(I, H, memory=value), lambda: Recurrent("lstm", I, H, memory=value)):
        with pytest.raises(ConfigError, match="memory must be one of 'fast', 'lean'; found"):
            make()

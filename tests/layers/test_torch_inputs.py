"""The inputs with which torch tests its own recurrent layers, good ones and wrong ones; its layers are the oracle.

Differences that stay:

* A module built under `torch.inference_mode` can be trained later; torch's cannot.
* `proj_size` is no argument of `RNN` and `GRU` (TypeError); torch's take it and raise ValueError.
* Rates, sizes and the like that are set later are checked when they are set, not at the next call; those that weights
  were made by are refused. torch's `hidden_size` or `num_layers` changes the result without a word.
* An output of `LSTM` may be changed in place before the way back; torch's may not.
* torch's messages stand at the beginning of ours, which then say what was found.
"""

import sys
import types
import unittest

import pytest
import torch
from tests.oracle import assert_close, gradients
from torch import nn

import gateflow
from gateflow.errors import GateflowError

try:
    import expecttest  # noqa: F401
except ImportError:  # torch's test tools import it; what is used of them here does not
    sys.modules["expecttest"] = types.SimpleNamespace(TestCase=unittest.TestCase)  # pyright: ignore

from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

OURS = {nn.RNN: gateflow.RNN, nn.GRU: gateflow.GRU, nn.LSTM: gateflow.LSTM}
INFOS = [info for info in module_db if info.module_cls in OURS]
F64 = torch.float64
each = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch's own


def built(layer_type, given):
    return layer_type(*given.args, **given.kwargs)


def tensors(result):
    return [t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("training", [True, False])
@each
def test_good_inputs(info, training):
    samples = info.module_inputs_func(info, device="cpu", dtype=F64, requires_grad=True, training=training)
    assert len(samples) >= 16
    for sample in samples:
        words, call = sample.constructor_input, sample.forward_input
        theirs = built(info.module_cls, words).double().train(training)
        ours = built(OURS[info.module_cls], words).double().train(training)
        ours.load_state_dict(theirs.state_dict())
        assert repr(ours) == repr(theirs)
        found, wanted = (tensors(layer(*call.args, **call.kwargs)) for layer in (ours, theirs))
        leaves = tensors((call.args, call.kwargs))
        for a, b in zip(found, wanted, strict=True):
            assert_close(a, b, "output or state")
        given = [gradients(out, [*leaves, *m.parameters()]) for out, m in ((found, ours), (wanted, theirs))]
        for a, b in zip(*given, strict=True):
            assert_close(a, b, "gradient")


@each
def test_wrong_inputs_raise_what_torch_raises_when_torch_does(info):
    samples = info.module_error_inputs_func(info, device="cpu", dtype=F64, requires_grad=False, training=True)
    assert len(samples) >= 10
    for sample in samples:
        words, call = sample.module_error_input.constructor_input, sample.module_error_input.forward_input
        if sample.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(sample.error_type, match=sample.error_regex) as error:
                built(OURS[info.module_cls], words)
        else:
            layer = built(OURS[info.module_cls], words)
            with pytest.raises(sample.error_type, match=sample.error_regex) as error:
                layer(*call.args, **call.kwargs)
        assert isinstance(error.value, GateflowError)


T, B, I, H = 6, 4, 3, 5
x, h = torch.zeros(T, B, I), torch.zeros(1, B, H)
CALLS = {
    "one dimension": (torch.zeros(I), None),
    "four dimensions": (torch.zeros(2, T, B, I), None),
    "input size": (torch.zeros(T, B, I + 1), None),
    "float64": (x.double(), None),
    "integers": (x.long(), None),
    "state's batch": (x, torch.zeros(1, B + 1, H)),
    "state's size": (x, torch.zeros(1, B, H + 1)),
    "state's layers": (x, torch.zeros(2, B, H)),
    "state without a batch": (x, torch.zeros(1, H)),
    "state with a batch": (x[:, 0], h),
    "state of one dimension": (x, torch.zeros(H)),
    "no step": (torch.zeros(0, B, I), None),
}


@pytest.mark.parametrize("call", CALLS)
@each
def test_wrong_calls_raise_what_torch_raises(info, call):
    given, state = CALLS[call]
    hx = (state, state) if info.module_cls is nn.LSTM and state is not None else state
    errors = []
    for layer_type in (info.module_cls, OURS[info.module_cls]):
        with pytest.raises((RuntimeError, ValueError)) as error:
            layer_type(I, H)(given, hx)
        errors.append(error)
    assert isinstance(errors[1].value, errors[0].type)
    assert isinstance(errors[1].value, GateflowError)

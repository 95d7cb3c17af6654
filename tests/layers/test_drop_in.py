"""`RNN`, `GRU`, `LSTM` against `torch.nn`'s: outputs, states, all gradients, on both paths; and their manners."""

import copy
import inspect
import itertools
import pickle
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.oracle import PATHS, assert_close, assert_gradients_close, gradients
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import gateflow
from gateflow.errors import ConfigError, ShapeError
from gateflow.recurrence import force_path

T, B, I, H = 6, 4, 3, 5
KINDS = {
    "tanh": (gateflow.RNN, nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (gateflow.RNN, nn.RNN, {"nonlinearity": "relu"}),
    "gru": (gateflow.GRU, nn.GRU, {}),
    "lstm": (gateflow.LSTM, nn.LSTM, {}),
    "lstm projected": (gateflow.LSTM, nn.LSTM, {"proj_size": 2}),
}
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # torch's own


def pair(kind, **options):
    """Ours and torch's, with the same weights, taken over in both directions."""
    ours_type, theirs_type, extra = KINDS[kind]
    ours, theirs = ours_type(I, H, **extra, **options), theirs_type(I, H, **extra, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def random_state(layer, dtype, batch=B):
    rows = layer.num_layers * (1 + layer.bidirectional)
    parts = [torch.randn(rows, batch, layer.proj_size or H, dtype=dtype, requires_grad=True)]
    if isinstance(layer, nn.LSTM | gateflow.LSTM):
        parts.append(torch.randn(rows, batch, H, dtype=dtype, requires_grad=True))
    return parts


def flat(result):
    y, state = result
    y = y.data if isinstance(y, PackedSequence) else y
    return [y, *(state if isinstance(state, tuple) else (state,))]


def compare(ours, theirs, x, state, leaf):
    """All outputs and the gradients of input, states and every weight, for random cotangents."""
    hx = tuple(state) if len(state) > 1 else state[0]
    found, wanted = flat(ours(x, hx)), flat(theirs(x, hx))
    for a, b, part in zip(found, wanted, ["output", "h", "c"], strict=False):
        assert_close(a, b, part)
    names = ["input", *["h0", "c0"][: len(state)], *dict(ours.named_parameters())]
    assert_gradients_close(
        gradients(found, [leaf, *state, *ours.parameters()]),
        gradients(wanted, [leaf, *state, *theirs.parameters()]),
        names,
    )


GRID = list(itertools.product(KINDS, [1, 2], [False, True], [True, False], ["plain", "batch_first", "packed"]))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("kind", "layers", "bidirectional", "bias", "form"), GRID)
def test_parity(kind, layers, bidirectional, bias, form, dtype, path):
    ours, theirs = pair(
        kind, num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=form == "batch_first", dtype=dtype
    )
    leaf = torch.randn(*((B, T, I) if form == "batch_first" else (T, B, I)), dtype=dtype, requires_grad=True)
    x = pack_padded_sequence(leaf, [2, 6, 1, 4], enforce_sorted=False) if form == "packed" else leaf
    with force_path(path):
        compare(ours, theirs, x, random_state(ours, dtype), leaf)


@given(data=st.data())
def test_parity_for_any_shape(data):
    size = st.integers(1, 7)
    steps, batch, inputs, hidden = (data.draw(size, label=n) for n in "TBIH")
    kind = data.draw(st.sampled_from(["tanh", "relu", "gru", "lstm"]))
    lengths = data.draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch), label="lengths")
    ours_type, theirs_type, extra = KINDS[kind]
    options = {"num_layers": data.draw(st.integers(1, 3)), "bidirectional": data.draw(st.booleans()), **extra}
    ours = ours_type(inputs, hidden, dtype=torch.float64, **options)
    theirs = theirs_type(inputs, hidden, dtype=torch.float64, **options)
    theirs.load_state_dict(ours.state_dict())
    leaf = torch.randn(max(lengths), batch, inputs, dtype=torch.float64, requires_grad=True)
    rows = options["num_layers"] * (1 + options["bidirectional"])
    parts = [
        torch.randn(rows, batch, hidden, dtype=torch.float64, requires_grad=True) for _ in range(1 + (kind == "lstm"))
    ]
    with force_path(data.draw(st.sampled_from(PATHS))):
        compare(ours, theirs, pack_padded_sequence(leaf, lengths, enforce_sorted=False), parts, leaf)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_batch_and_without_a_state(kind):
    ours, theirs = pair(kind, num_layers=2, bidirectional=True, batch_first=True)
    for x in (torch.randn(T, I), torch.randn(B, T, I)):
        for a, b in zip(flat(ours(x)), flat(theirs(x)), strict=True):
            assert_close(a, b, "output or state")
    state = [s[:, 0] for s in random_state(ours, torch.float32)]
    hx = tuple(state) if len(state) > 1 else state[0]
    for a, b in zip(flat(ours(x[0], hx)), flat(theirs(x[0], hx)), strict=True):
        assert_close(a, b, "output or state without a batch")


@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_a_packed_output_is_packed_as_the_input_was(enforce_sorted):
    ours, theirs = pair("gru", bidirectional=True)
    x = pack_padded_sequence(torch.randn(T, B, I), [5, 5, 5, 2], enforce_sorted=enforce_sorted)
    found, wanted = ours(x)[0], theirs(x)[0]
    assert_close(found.data, wanted.data, "data")
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        a, b = getattr(found, field), getattr(wanted, field)
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_same_constructor_and_same_initial_weights_for_a_seed(kind):
    ours_type, theirs_type, extra = KINDS[kind]
    if kind != "tanh":
        arguments = [
            p for p in inspect.signature(ours_type.__init__).parameters if p not in ("self", "device", "dtype")
        ]
        theirs = inspect.signature(theirs_type.__base__.__init__).parameters
        assert set(arguments) - {"nonlinearity", "memory"} <= set(theirs)
    torch.manual_seed(5)
    a = ours_type(I, H, 2, bidirectional=True, **extra)
    torch.manual_seed(5)
    b = theirs_type(I, H, 2, bidirectional=True, **extra)
    for key, value in b.state_dict().items():
        assert torch.equal(a.state_dict()[key], value)


def test_positional_arguments_are_torchs():
    assert repr(gateflow.RNN(3, 5, 2, "relu", False, True, 0.5, True)) == repr(
        gateflow.RNN(
            3, 5, num_layers=2, nonlinearity="relu", bias=False, batch_first=True, dropout=0.5, bidirectional=True
        )
    )
    assert gateflow.LSTM(3, 5, 2, False, True, 0.5, True, 2).proj_size == 2
    assert gateflow.GRU(3, 5, 2, False, True, 0.5, True).bidirectional


WRONG_INPUT = {
    "one dimension": (torch.zeros(I), None),
    "four dimensions": (torch.zeros(2, T, B, I), None),
    "input size": (torch.zeros(T, B, I + 1), None),
    "type": (torch.zeros(T, B, I, dtype=torch.float64), None),
    "state's batch": (torch.zeros(T, B, I), torch.zeros(1, B + 1, H)),
    "state's size": (torch.zeros(T, B, I), torch.zeros(1, B, H + 1)),
    "state's layers": (torch.zeros(T, B, I), torch.zeros(2, B, H)),
    "no step": (torch.zeros(0, B, I), None),
}


@pytest.mark.parametrize("what", WRONG_INPUT)
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_wrong_input_raises_what_torch_raises(kind, what):
    ours, theirs = pair(kind)
    x, h = WRONG_INPUT[what]
    hx = None if h is None else (h, h) if kind == "lstm" else h
    with pytest.raises((ValueError, RuntimeError)) as theirs_error:
        theirs(x, hx)
    with pytest.raises(theirs_error.type) as error:
        ours(x, hx)
    assert isinstance(error.value, ShapeError)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError, match="nonlinearity must be 'tanh' or 'relu', got 'sigmoid'"):
        gateflow.RNN(3, 4, nonlinearity="sigmoid")
    with pytest.raises(ConfigError, match="num_layers must be greater than zero, got 0"):
        gateflow.GRU(3, 4, num_layers=0)
    with pytest.raises(ConfigError, match="hidden_size must be greater than zero, got 0"):
        gateflow.LSTM(3, 0)
    with pytest.raises(ConfigError, match="dropout should be a number in range"):
        gateflow.LSTM(3, 4, dropout=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_manners_of_a_module(kind):
    ours, _ = pair(kind, num_layers=2)
    x = torch.randn(T, B, I)
    wanted = ours(x)[0]
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(twin(x)[0], wanted)
        with torch.no_grad():
            twin.weight_hh_l0.zero_()
        assert not torch.equal(twin(x)[0], wanted), "a copy must own its weights"
    assert ours.flatten_parameters() is None
    assert [len(w) for w in ours.all_weights] == [5 if "projected" in kind else 4] * 2
    double = ours.to(torch.float64)
    assert double(x.double())[0].dtype == torch.float64
    assert ours.to("meta").weight_ih_l0.is_meta


def test_weights_that_torch_replaces_are_seen():
    ours, theirs = pair("lstm")
    x = torch.randn(T, B, I)
    fresh = {k: torch.randn_like(v) for k, v in theirs.state_dict().items()}
    wanted = torch.func.functional_call(theirs, fresh, (x,))[0]
    assert_close(torch.func.functional_call(ours, fresh, (x,))[0], wanted, "functional_call")
    ours.load_state_dict(fresh, assign=True)
    assert_close(ours(x)[0], wanted, "assigned weights")
    nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
    assert_close(ours(x)[0], wanted, "parametrized weights")


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_autocast_gives_what_torch_gives(kind):
    ours, theirs = pair(kind, num_layers=2)
    x = torch.randn(T, B, I)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = ours(x)[0], theirs(x)[0]
    assert found.dtype in (torch.float32, wanted.dtype)  # the compiled loops keep the state in float32
    torch.testing.assert_close(found.float(), wanted.float(), rtol=4e-2, atol=2e-2)


def test_dropout_between_layers_only_while_training():
    ours, theirs = pair("lstm", num_layers=2, dropout=0.5)
    x = torch.randn(T, B, I)
    assert not torch.equal(ours(x)[0], ours(x)[0])
    ours.eval(), theirs.eval()
    assert_close(ours(x)[0], theirs(x)[0], "eval")


def test_backward_works_in_eval_mode():
    ours, _ = pair("lstm")
    ours.eval()
    ours(torch.randn(T, B, I))[0].sum().backward()
    assert ours.weight_hh_l0.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore")  # several of the compiler's own
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_by_torch():
    ours, _ = pair("lstm")
    x = torch.randn(T, B, I)
    found = torch.compile(ours)(x)[0]
    assert_close(found, ours(x)[0], "compiled")
    found.sum().backward()
    assert ours.weight_hh_l0.grad.abs().sum() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("path", ["vendor", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_as_on_the_cpu(kind, path):
    ours, _ = pair(kind, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = pack_padded_sequence(torch.randn(T, B, I, dtype=torch.float64), [2, 6, 1, 4], enforce_sorted=False)
    twin = copy.deepcopy(ours).cuda()
    with force_path(path):
        wanted, found = flat(ours(x)), flat(twin(x.to("cuda")))
    for a, b in zip(found, wanted, strict=True):
        assert_close(a.cpu(), b, "on the GPU")


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("layers", [1, 2])
def test_one_step_at_a_time_is_the_whole_sequence(kind, layers):
    """As reinforcement learning calls a layer: for each step of a game, with the state of the one before."""
    ours = getattr(gateflow, kind)(4, 5, layers)
    theirs = getattr(nn, kind)(4, 5, layers)
    theirs.load_state_dict(ours.state_dict())
    x, states = torch.randn(6, 3, 4), [None, None]
    with torch.no_grad():
        for t in range(6):
            (y, states[0]), (wanted, states[1]) = (
                m(x[t : t + 1], s) for m, s in zip((ours, theirs), states, strict=True)
            )
            assert torch.allclose(y, wanted, atol=1e-6)
            finals = [s if isinstance(s, tuple) else (s,) for s in states]
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*finals, strict=True))
            kept = [part.clone() for part in finals[0]]
            y.zero_()  # an output is memory of its own
            assert all(map(torch.equal, finals[0], kept))

"""What torch's own tools do with its recurrent layers they do with ours; torch's layers are the oracle."""

import copy
import gc
import io
import pickle
import warnings

import pytest
import torch
from tests.oracle import assert_close
from torch import nn
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads

import gateflow
from gateflow.errors import GateflowError
from gateflow.flow.adjoint import reference_gradients
from gateflow.layers import cells_in, is_torchs
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
    ours_type, theirs_type, extra = KINDS[kind]
    ours, theirs = ours_type(I, H, **extra, **options), theirs_type(I, H, **extra, **options)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_one_of_torchs_layers(kind):
    ours, theirs = pair(kind, num_layers=2, bidirectional=True)
    assert isinstance(ours, KINDS[kind][1])
    assert not is_torchs(ours)
    assert is_torchs(theirs)
    assert list(ours.children()) == []
    assert ours._flat_weights_names == theirs._flat_weights_names
    assert ours._all_weights == theirs._all_weights
    assert all(map(torch.equal, ours._flat_weights, theirs._flat_weights))
    assert [[tuple(w.shape) for w in ws] for ws in ours.all_weights] == [
        [tuple(w.shape) for w in ws] for ws in theirs.all_weights
    ]
    assert ours.get_expected_hidden_size(torch.zeros(T, B, I), None) == theirs.get_expected_hidden_size(
        torch.zeros(T, B, I), None
    )


def test_what_looks_at_recurrent_layers_takes_ours_as_ours():
    model = nn.ModuleDict({"ours": gateflow.LSTM(I, H, proj_size=2), "theirs": nn.LSTM(2, H)})
    assert list(cells_in(model)) == ["ours.l0", "theirs.l0"]  # torch's with a projection would be refused
    ours = gateflow.LSTM(I, H, 2, dropout=0.5)  # torch's would be replayed without its dropout
    found = reference_gradients(ours, torch.randn(T, B, I), None, 0).layers
    assert list(found) == ["l0", "l1"]


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bias": False}, {"batch_first": True, "bidirectional": True}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_as_torchs(kind, options):
    ours, theirs = pair(kind, **options)
    assert repr(ours) == repr(theirs)


ARGUMENTS = [
    {"batch_first": "False"},
    {"batch_first": 1},
    {"bias": 0},
    {"bias": None},
    {"input_size": 3.0},
    {"input_size": 0},
    {"input_size": "3"},
    {"hidden_size": 0},
    {"hidden_size": 4.0},
    {"hidden_size": None},
    {"num_layers": 0},
    {"num_layers": -1},
    {"num_layers": 1.5},
    {"num_layers": "2"},
    {"dropout": 1.5},
    {"dropout": -0.1},
    {"dropout": True},
    {"dropout": "much"},
    {"dropout": None},
    {"unknown": 1},
    {"proj_size": 2},
    {"proj_size": 5},
    {"proj_size": -1},
]
CALLS = [(k, w) for k in ("gru", "lstm", "tanh") for w in ARGUMENTS if k == "lstm" or "proj_size" not in w]


@pytest.mark.parametrize(("kind", "wrong"), CALLS, ids=str)
def test_arguments_that_torch_refuses_are_refused_by_the_same_kind_of_error(kind, wrong):
    ours_type, theirs_type, _ = KINDS[kind]
    given = {"input_size": I, "hidden_size": H} | wrong
    try:
        theirs_type(**given)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            ours_type(**given)
    else:
        assert ours_type(**given).proj_size == wrong["proj_size"]


@pytest.mark.parametrize("kind", ["gru", "tanh"])
def test_only_an_lstm_has_projections(kind):
    """torch's RNN and GRU take `proj_size` among their keywords and raise ValueError; ours have no such argument."""
    for layer_type, error in zip(KINDS[kind], (TypeError, ValueError), strict=False):
        with pytest.raises(error, match="proj_size"):
            layer_type(I, H, proj_size=2)


@pytest.mark.parametrize("kind", ["gru", "lstm", "tanh"])
def test_dropout_with_nothing_to_drop_warns_at_the_users_line(kind):
    said = []
    for layer_type in KINDS[kind][:2]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            layer_type(I, H, dropout=0.5)
        said.append(str(caught[0].message))
        if layer_type is KINDS[kind][0]:
            assert caught[0].filename == __file__
    assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dynamic_quantization_says_that_it_does_nothing():
    model = nn.Sequential(gateflow.LSTM(I, H))
    for spec in (None, {nn.LSTM}):
        with pytest.warns(UserWarning, match=r"leaves gateflow.LSTM as it is.*put torch.nn.LSTM with the same"):
            quantized = torch.ao.quantization.quantize_dynamic(model, spec)
        assert_close(quantized[0](torch.ones(T, B, I))[0], model[0](torch.ones(T, B, I))[0], "as it is")


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_on_the_meta_device(kind, options):
    ours, theirs = pair(kind, device="meta", **options)
    x = torch.empty(T, B, I, device="meta")
    state = ours(x)[1]
    found, wanted = ours(x, state), theirs(x, state)
    assert found[0].shape == wanted[0].shape
    assert found[0].is_meta
    assert [s.shape for s in found[1]] == [s.shape for s in wanted[1]]


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_complex_numbers(kind):
    torch.manual_seed(3)
    ours, theirs = pair(kind, dtype=torch.complex128)
    torch.manual_seed(3)
    assert torch.equal(KINDS[kind][1](I, H, dtype=torch.complex128, **KINDS[kind][2]).weight_hh_l0, ours.weight_hh_l0)
    x = torch.randn(T, B, I, dtype=torch.complex128)
    for layer in (ours, theirs):
        layer(x)[0].abs().sum().backward()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    torch.testing.assert_close(ours.weight_hh_l0.grad, theirs.weight_hh_l0.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_built_in_inference_mode(kind):
    with torch.inference_mode():
        ours, theirs = pair(kind)
        x = torch.randn(T, B, I)
        assert_close(ours(x)[0], theirs(x)[0], "output")
    ours(torch.randn(T, B, I))[0].sum().backward()


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("memory", ["fast", "lean"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_is_changed_in_place(kind, memory, autocast):
    """What was saved for the way back is the output itself; torch's GRU and RNN allow it, its LSTM does not."""
    ours_type, _, extra = KINDS[kind]
    layer = ours_type(I, H, 2, bidirectional=True, memory=memory, **extra)
    x, gradients = torch.randn(T, B, I), []
    for change in (torch.relu, torch.relu_, lambda y: y[1:].mul_(0.5).relu_()):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = layer(x)[0]
            assert y.requires_grad
            change(y).square().sum().backward()
        gradients.append([w.grad for w in layer.parameters()])
    assert all(map(torch.equal, gradients[0], gradients[1]))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        wanted = torch.autograd.grad((layer(x)[0][1:] * 0.5).relu().square().sum(), list(layer.parameters()))
    assert all(map(torch.equal, gradients[2], wanted))


def test_an_input_that_is_changed_in_place_is_still_an_error():
    layer, x = gateflow.GRU(I, H), torch.randn(T, B, I)
    y, _ = layer(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_saved_tensor_hooks_see_the_output_and_its_memory_is_theirs():
    layer, packed = gateflow.GRU(I, H), []

    def pack(tensor):
        packed.append(tensor.data_ptr())
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y, _ = layer(torch.randn(T, B, I))
    assert y.data_ptr() in packed
    y.relu_().sum().backward()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")  # as for torch's layers
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_a_traced_layer_is_torchs_own_operations(kind, options):
    ours, _ = pair(kind, **options)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(ours, (torch.randn(T, B, I),)), file)
    file.seek(0)
    loaded, x = torch.jit.load(file), torch.randn(T + 3, B + 1, I)
    assert "gateflow::" not in str(loaded.inlined_graph)
    assert_close(loaded(x)[0], ours(x)[0], "traced")


@pytest.mark.parametrize("kind", KINDS)
def test_a_leaf_of_fx(kind):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = KINDS[kind][0](I, H, **KINDS[kind][2]), nn.LazyLinear(2)

        def forward(self, x):
            y, _ = self.rnn(x)
            return self.head(y)

    model, x = Model(), torch.randn(T, B, I)
    wanted, graph = model(x), torch.fx.symbolic_trace(model)
    assert [n.target for n in graph.graph.nodes if n.op == "call_module"] == ["rnn", "head"]
    assert_close(graph(x), wanted, "traced")


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # said whenever oneDNN's flags are set
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_gradients_per_sample(kind):
    """torch's LSTM cannot with oneDNN on, and ours then runs on torch's kernel."""
    ours, theirs = pair(kind, batch_first=True)
    x = torch.randn(B, T, I)
    with torch.backends.mkldnn.flags(enabled=False):
        for layer in (ours, theirs):
            call_for_per_sample_grads(layer)(x)[0].sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine.grad_sample, other.grad_sample, "gradient of each sample")


@pytest.mark.filterwarnings("ignore")  # torch's own exporter has several
@pytest.mark.parametrize("export", ["export", "draft_export"])
def test_exported(export):
    layer, x = gateflow.LSTM(I, H), torch.randn(T, B, I)
    program = getattr(torch.export, export)(layer, (x,))
    assert_close(program.module()(x)[0], layer(x)[0], export)
    gc.collect()  # draft_export leaves a file open, which is told of here and not in a later test


class Subclass(gateflow.GRU):
    pass


def parametrized():
    layer = gateflow.GRU(I, H)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    return layer


@pytest.mark.parametrize("make", [gateflow.RNN, gateflow.GRU, gateflow.LSTM, Subclass, parametrized])
def test_torchs_compiler_sees_one_operator_though_it_refuses_torchs_layers(make):
    layer = make() if make is parametrized else make(I, H)
    x = torch.randn(T, B, I)
    torch._dynamo.reset()
    compiled = torch.compile(nn.Sequential(layer), fullgraph=True, backend="eager")
    assert_close(compiled(x)[0], layer(x)[0], "compiled")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN"):
        torch.compile(nn.Sequential(nn.GRU(I, H)), fullgraph=True, backend="eager")(x)


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_layer_of_its_own(kind, twin_of):
    ours_type, _, extra = KINDS[kind]
    layer = ours_type(I, H, 2, memory="lean", **extra).eval()
    layer.note = "of the user"
    twin, x = twin_of(layer), torch.randn(T, B, I)
    assert type(twin) is type(layer)
    assert repr(twin) == repr(layer)
    assert (twin.training, twin.note, twin.memory) == (False, "of the user", "lean")
    assert torch.equal(twin(x)[0], layer(x)[0])
    nn.init.zeros_(twin.weight_hh_l1)
    assert not torch.equal(twin(x)[0], layer(x)[0])


def test_errors_say_what_was_asked_and_are_ours():
    for words in ({"batch_first": "False"}, {"num_layers": 1.5}, {"dropout": 1.5}):
        with pytest.raises(GateflowError, match=f"{next(iter(words))} should be .*{next(iter(words.values()))}"):
            gateflow.GRU(I, H, **words)


@pytest.mark.parametrize("kind", [gateflow.RNN, gateflow.GRU])
def test_torchs_kernels_give_an_output_that_may_be_changed_in_place(kind):
    """On the vendor path, which a GPU takes; where torch's own layer allows it."""
    layer, x = kind(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    with force_path("vendor"):
        (wanted,) = torch.autograd.grad(torch.relu(layer(x)[0]).sum(), x)
        (found,) = torch.autograd.grad(layer(x)[0].relu_().sum(), x)
    torch.testing.assert_close(found, wanted)

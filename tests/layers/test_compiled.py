"""Sequences of different lengths under `torch.compile`: one graph, whose shapes no length has a say in."""

import shutil

import pytest
import torch
from tests.oracle import assert_close, gradients
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gateflow
from gateflow.errors import ShapeError

T, B, I, H = 6, 4, 3, 5
F64 = torch.float64
KINDS = [{}, {"num_layers": 2, "bidirectional": True}]
pytestmark = pytest.mark.filterwarnings("ignore")  # several of the compiler's own


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    with torch._functorch.config.patch(donated_buffer=False):  # gradients are asked for twice
        yield


def tensors(result):
    return [t for t in torch.utils._pytree.tree_leaves(result) if isinstance(t, torch.Tensor) and t.requires_grad]


def assert_same(layer, run, *args, backend="aot_eager", fullgraph=True):
    found = tensors(torch.compile(run, backend=backend, fullgraph=fullgraph)(*args))
    wanted = tensors(run(*args))
    assert len(found) == len(wanted) > 1
    for a, b in zip(found, wanted, strict=True):
        assert_close(a, b, "output or state")
    leaves = list(layer.parameters())
    for a, b in zip(gradients(found, leaves), gradients(wanted, leaves), strict=True):
        assert_close(a, b, "gradient")


@pytest.mark.parametrize(
    "options", [*KINDS, {"num_layers": 2, "merge": "sum", "bidirectional": True, "skip": "residual"}]
)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_lengths(cell, options):
    layer = gateflow.Recurrent(cell, I, H, dtype=F64, **options)
    x = torch.randn(T, B, I, dtype=F64)
    x[4:, 1] = torch.nan
    assert_same(layer, lambda x, n: layer(x, lengths=n), x, torch.tensor([6, 2, 0, 4]))


def test_lengths_with_zoneout_and_a_start_state():
    layer = gateflow.Recurrent("lstm", I, H, bidirectional=True, zoneout=(0.2, 0.1), dtype=F64).eval()
    state = [tuple(torch.randn(B, H, dtype=F64) for _ in range(2)) for _ in range(2)]
    x, n = torch.randn(T, B, I, dtype=F64), torch.tensor([6, 2, 0, 4])
    assert_same(layer, lambda x, n: layer(x, state, lengths=n), x, n)


def test_other_lengths_need_no_other_graph():
    layer, graphs = gateflow.Recurrent("gru", I, H, dtype=F64), []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(lambda x, n: layer(x, lengths=n), backend=backend, fullgraph=True)
    x = torch.randn(T, B, I, dtype=F64)
    for n in ([6, 2, 0, 4], [1, 1, 1, 1], [6, 6, 6, 6]):
        assert_close(compiled(x, torch.tensor(n))[0], layer(x, lengths=n)[0], str(n))
    assert len(graphs) == 1


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("kind", [gateflow.RNN, gateflow.GRU, gateflow.LSTM])
def test_packed(kind, options):
    layer = kind(I, H, dtype=F64, **options)
    x = torch.randn(T, B, I, dtype=F64)
    packed = pack_padded_sequence(x, [6, 2, 1, 4], enforce_sorted=False)
    assert_same(layer, layer, packed)
    h = torch.randn(layer.num_layers * layer.num_directions, B, H, dtype=F64)
    hx = (h, h.sin()) if kind is gateflow.LSTM else h
    assert_same(layer, layer, packed, hx)
    assert_same(layer, layer, pack_padded_sequence(x, [6, 5, 3, 1]), hx)
    # How many rows there are stands in the batch sizes alone; without a shape that says so torch breaks its graph.
    assert_same(layer, layer, pack_padded_sequence(x, [6, 5, 3, 1]), fullgraph=False)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = gateflow.LSTM(I, H, dtype=F64)

    def forward(self, x, lengths):
        y, state = self.rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(y)[0], state


def test_packed_within_a_compiled_model():
    model = Model()
    assert_same(model, model, torch.randn(T, B, I, dtype=F64), torch.tensor([6, 2, 1, 4]), fullgraph=False)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch's code generator needs a C++ compiler")
def test_by_the_code_generator():
    layer = gateflow.Recurrent("lstm", I, H, bidirectional=True, dtype=F64)
    x, n = torch.randn(T, B, I, dtype=F64), torch.tensor([6, 2, 0, 4])
    assert_same(layer, lambda x, n: layer(x, lengths=n), x, n, backend="inductor")


@pytest.mark.parametrize("lengths", [[7, 1, 1, 1], [-1, 1, 1, 1]])
def test_wrong_lengths_are_refused_when_the_graph_runs(lengths):
    layer = gateflow.Recurrent("gru", I, H)
    compiled = torch.compile(lambda x, n: layer(x, lengths=n), backend="aot_eager", fullgraph=True)
    with pytest.raises(ShapeError, match="lengths must lie between 0 and T = 6, found"):
        compiled(torch.randn(T, B, I), torch.tensor(lengths))


def test_a_state_of_another_batch_is_refused_when_the_graph_runs():
    layer = gateflow.GRU(I, H)
    packed = pack_padded_sequence(torch.randn(T, B, I), [6, 5, 3, 1])
    with pytest.raises(ShapeError, match="must have as many rows as the start state, 3, found 4"):
        torch.compile(layer, backend="aot_eager", fullgraph=True)(packed, torch.randn(1, 3, H))


def test_a_number_that_is_nan_is_equal_to_itself():
    class Marked(gateflow.Cell):
        states, gates = ("h",), ("g",)
        unused = float("nan")

        def step(self, x, h):
            return torch.tanh(self.g(h, x))

    layer, x = gateflow.Recurrent(Marked, 3, 4), torch.randn(5, 2, 3)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x)[0], layer(x)[0])


def test_ragged_rows_in_bfloat16_are_the_eager_ones():
    layer, x = gateflow.Recurrent("gru", 3, 4).bfloat16().eval(), torch.randn(5, 3, 3, dtype=torch.bfloat16)
    compiled, lengths = torch.compile(layer, backend="aot_eager", fullgraph=True), torch.tensor([5, 2, 0])
    torch.testing.assert_close(compiled(x, lengths=lengths)[0], layer(x, lengths=lengths)[0])

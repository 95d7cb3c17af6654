"""`Recurrent`: ragged lengths, options, mixes of cells, streaming. The judge is torch or the definition in the docs."""

import contextlib
import itertools
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.oracle import PATHS, assert_close, assert_gradients_close, gradients, needs_compiler
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gateflow
from gateflow import Recurrent, cells
from gateflow.errors import ConfigError, PathError, ReferencePathWarning, ShapeError, UnknownCellError
from gateflow.recurrence import explain, force_path

T, B, I, H = 6, 4, 3, 5
double = {"dtype": torch.float64}


def random_state(layer, batch=B, dtype=torch.float64):
    return [
        tuple(torch.randn(batch, n, dtype=dtype, requires_grad=True) for n in c.state_sizes.values())
        for c in layer.cells
    ]


# --- lengths ---------------------------------------------------------------------------------------------------------


# Kernels of a cell take seconds to build: some of each kind here, all of them in `make test-all`.
SOME = ("lstm", "full_gru", "peephole_lstm", "layernorm_gru", "projected_lstm", "elman", "mut1", "slstm")
EACH = [name if name in SOME else pytest.param(name, marks=pytest.mark.long) for name in cells.names()]


@given(data=st.data())
def test_result_at_batch_1_is_the_result_in_any_padded_batch(data):
    steps, batch = data.draw(st.integers(1, 6), label="T"), data.draw(st.integers(1, 5), label="B")
    lengths = data.draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch), label="lengths")
    name = data.draw(st.sampled_from(SOME))
    layer = Recurrent(name, I, H, num_layers=2, bidirectional=data.draw(st.booleans()), skip="residual", **double)
    x, state = torch.randn(steps, batch, I, **double), random_state(layer, batch)
    for b, length in enumerate(lengths):
        x[length:, b] = torch.nan  # what lies beyond a row's end must not matter
    y, final = layer(x, state, lengths=lengths)
    for b, length in enumerate(lengths):
        alone = [tuple(part[b : b + 1] for part in parts) for parts in state]
        if length:
            y_alone, final_alone = layer(x[:length, b : b + 1], alone)
            assert_close(y[:length, b : b + 1], y_alone, f"row {b}")
        else:
            final_alone = alone
        assert not y[length:, b].any(), "the output beyond a row's end is zero"
        for part, wanted in zip(itertools.chain(*final), itertools.chain(*final_alone), strict=True):
            assert_close(part[b : b + 1], wanted, f"final state of row {b}")


@pytest.mark.parametrize("name", ["lstm", "gru", "elman", "full_gru"])
def test_padding_of_nan_reaches_no_gradient(name):
    layer = Recurrent(name, I, H, bidirectional=True, **double)
    x = torch.randn(T, B, I, **double)
    x[3:, 1], x[:, 2] = torch.nan, torch.inf
    x.requires_grad_()
    y, _ = layer(x, lengths=[6, 3, 0, 5])
    grads = gradients([y], [x, *layer.parameters()])
    assert all(torch.isfinite(g).all() for g in grads)
    assert not grads[0][3:, 1].any()


class Shares(gateflow.Cell):
    """Divides by its input: padding of zeros would be NaN, and so would all gradients."""

    states, gates = ("h",), ("g",)

    def step(self, x, h):
        return torch.tanh(self.g(h, x / x.sum(-1, keepdim=True)) * x[..., :1].log())


def rows_alone(layer, x, lengths):
    """Outputs and gradients of the rows one by one, so that there is no padding."""
    outputs = [layer(x[:n, b : b + 1])[0].square().sum() for b, n in enumerate(lengths) if n]
    return torch.autograd.grad(sum(outputs), [x, *layer.parameters()])


@pytest.mark.parametrize("way", [*(path for path in PATHS if path != "vendor"), "compiled", "second derivative"])
def test_what_a_step_makes_of_padding_reaches_nothing(way):
    layer = Recurrent(Shares, I, H, bidirectional=True, **double)
    x, lengths = torch.rand(T, B, I, **double).add(0.1).requires_grad_(), [6, 2, 0, 4]
    run, leaves = layer, [x, *layer.parameters()]
    if way == "compiled":
        torch._dynamo.reset()
        run = torch.compile(layer, backend="aot_eager")
    with force_path(way) if way in PATHS else contextlib.nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler has some
        y, final = run(x, lengths=torch.tensor(lengths))
        found = torch.autograd.grad(y.square().sum(), leaves, create_graph=way == "second derivative")
    assert all(part.isfinite().all() for parts in final for part in parts)
    for a, b in zip(found, rows_alone(layer, x, lengths), strict=True):
        assert_close(a.detach(), b, "gradient")
    if way == "second derivative":
        again = torch.autograd.grad(sum(g.square().sum() for g in found), leaves)
        assert all(g.isfinite().all() for g in again)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_lengths_equal_packing(name, path):
    layer = Recurrent(name, I, H, num_layers=2, bidirectional=True, **double)
    x, lengths = torch.randn(T, B, I, **double), [2, 6, 1, 4]
    with force_path(path):
        y, final = layer(x, lengths=torch.tensor(lengths))
        packed, packed_final = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    assert_close(pad_packed_sequence(packed)[0], y, "output")
    for a, b in zip(itertools.chain(*packed_final), itertools.chain(*final), strict=True):
        assert_close(a, b, "state")


@pytest.mark.parametrize("name", ["lstm", "gru", "elman", "elman_relu", "projected_lstm"])
def test_all_paths_agree_on_everything(name):
    layer = Recurrent(name, I, H, num_layers=2, bidirectional=True, **double)
    x, state = torch.randn(T, B, I, requires_grad=True, **double), random_state(layer)
    results = {}
    for path in PATHS:
        with force_path(path):
            y, final = layer(x, state, lengths=[2, 6, 0, 4])
        outputs = [y, *itertools.chain(*final)]
        results[path] = outputs, gradients(outputs, [x, *itertools.chain(*state), *layer.parameters()])
    names = ["x", *(f"state {k}" for k in range(sum(len(s) for s in state))), *dict(layer.named_parameters())]
    for path in PATHS:
        for a, b in zip(results[path][0], results["reference"][0], strict=True):
            assert_close(a, b, f"output or state on the {path} path")
        assert_gradients_close(results[path][1], results["reference"][1], names)


def test_batch_first_is_the_same_turned():
    layer = Recurrent("peephole_lstm", I, H, batch_first=True)
    x = torch.randn(B, T, I)
    y, _ = layer(x, lengths=[6, 2, 3, 1])
    layer.batch_first = False
    assert_close(y, layer(x.transpose(0, 1), lengths=[6, 2, 3, 1])[0].transpose(0, 1), "output")


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2], r"4 integers, one per row, found shape \[2\]"),
        ([1.0, 2.0, 3.0, 4.0], "of torch.float32"),
        ([1, 2, 3, 7], "between 0 and T = 6, found 1 to 7"),
        ([-1, 2, 3, 4], "found -1 to 4"),
    ],
)
def test_wrong_lengths_are_refused(lengths, message):
    with pytest.raises(ShapeError, match=message):
        Recurrent("lstm", I, H)(torch.zeros(T, B, I), lengths=lengths)


# --- options ---------------------------------------------------------------------------------------------------------


def directions(merge, **options):
    torch.manual_seed(1)
    return Recurrent("lstm", I, H, bidirectional=True, merge=merge, **options)


def test_merges():
    x = torch.randn(T, B, I)
    forward, backward = directions(None)(x)[0]
    for merge, wanted in {
        "concat": torch.cat([forward, backward], -1),
        "sum": forward + backward,
        "mean": (forward + backward) / 2,
        "mul": forward * backward,
    }.items():
        layer = directions(merge)
        assert_close(layer(x)[0], wanted, merge)
        assert layer.output_size == wanted.shape[-1]


def test_residual_and_highway_skips_are_their_equations():
    torch.manual_seed(1)
    plain = Recurrent("gru", H, H)
    x = torch.randn(T, B, H)
    fx = plain(x)[0]
    for skip in ("residual", "highway"):
        layer = Recurrent("gru", H, H, skip=skip)
        layer.load_state_dict(plain.state_dict(), strict=False)
        if skip == "residual":
            wanted = x + fx
        else:
            g = torch.sigmoid(layer.skips[0].gate(x))
            wanted = g * fx + (1 - g) * x
        assert_close(layer(x)[0], wanted, skip)


def test_a_skip_over_unequal_sizes_learns_a_product():
    layer = Recurrent("gru", I, H, num_layers=2, skip="residual")
    assert [type(s.carry) for s in layer.skips] == [nn.Linear, nn.Identity]


@pytest.mark.parametrize(("skip", "learns"), [(None, False), ("residual", True), ("highway", True)])
def test_ten_layers_train_with_skips_where_the_plain_stack_does_not(skip, learns):
    """Row M13, on a task that one layer finds trivial: say at each step whether the first input is positive."""
    layer, read = Recurrent("lstm", 16, 16, num_layers=10, skip=skip), nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*layer.parameters(), *read.parameters()], lr=3e-3)
    for _ in range(200):
        x = torch.randn(5, 32, 16)
        loss = nn.functional.cross_entropy(read(layer(x)[0]).flatten(0, 1), (x[..., 0] > 0).long().flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (loss < 0.3) if learns else (loss > 0.65), f"cross-entropy {loss:.3f}; chance is 0.693"


def test_mixed_cells_and_sizes():
    layer = Recurrent(["lstm", "full_gru", cells.IndRNN], I, [4, 6, 5], bidirectional=True)
    y, final = layer(torch.randn(T, B, I))
    assert y.shape == (T, B, 10)
    assert [[p.shape[-1] for p in s] for s in final] == [[4, 4], [4, 4], [6], [6], [5], [5]]


def test_dense_layers_on_top_act_on_each_step_alone():
    layer = Recurrent("gru", I, H, dense=(7, 2))
    x = torch.randn(T, B, I)
    y, _ = layer(x)
    assert y.shape == (T, B, 2) == (T, B, layer.output_size)
    recurrent = Recurrent("gru", I, H)
    recurrent.load_state_dict({k: v for k, v in layer.state_dict().items() if "dense" not in k})
    assert_close(y, layer.dense(recurrent(x)[0]), "tower")
    assert not layer(x, lengths=[6, 2, 3, 1])[0][2:, 1].any(), "padding stays zero above a bias"


def test_variational_dropout_has_one_mask_for_all_steps():
    layer = Recurrent("elman_relu", I, H, num_layers=2, variational_dropout=0.5)
    with torch.no_grad():  # the second layer shows what it is given
        layer.weight_ih_l1.copy_(torch.eye(H)), layer.weight_hh_l1.zero_()
        layer.bias_ih_l1.zero_(), layer.bias_hh_l1.zero_(), layer.bias_ih_l0.add_(5)
    dropped = layer(torch.randn(T, B, I))[0] == 0
    assert (dropped == dropped[0]).all()
    assert 0 < dropped[0].float().mean() < 1
    assert not (dropped[0] == dropped[0, 0]).all(), "rows have masks of their own"
    layer.eval()
    assert (layer(torch.randn(T, B, I))[0] != 0).all()


def test_weight_dropout_drops_recurrent_weights_for_a_whole_pass():
    torch.manual_seed(0)
    layer, x = Recurrent("lstm", I, H, weight_dropout=0.5, **double), torch.randn(T, B, I, **double)
    plain = Recurrent("lstm", I, H, **double)
    plain.load_state_dict(layer.state_dict())
    torch.manual_seed(7)
    found = layer(x)[0]
    torch.manual_seed(7)
    with torch.no_grad():
        plain.weight_hh_l0.copy_(nn.functional.dropout(plain.weight_hh_l0, 0.5))
    assert_close(found, plain(x)[0], "the mask is drawn once")
    layer(x)[0].sum().backward()
    assert (layer.weight_hh_l0.grad == 0).any()
    assert layer.weight_hh_l0.is_leaf
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_zoneout_keeps_old_values_exactly_and_its_expectation_in_eval():
    layer = Recurrent("full_gru", I, H, zoneout=0.5)
    y, _ = layer(torch.randn(T, B, I))
    kept = (y[1:] == y[:-1]).float().mean()
    assert 0.3 < kept < 0.7
    layer.eval()
    cell, x = layer.cells[0], torch.randn(T, B, I)
    h = torch.randn(B, H)
    y, _ = layer(x, [(h,)])
    for t in range(T):
        h = 0.5 * h + 0.5 * cell(x[t], (h,))[0]
        assert_close(y[t], h, f"step {t}")


def test_zoneout_per_state():
    layer = Recurrent("lstm", I, H, zoneout=(0.0, 1.0))
    start = [(torch.randn(B, H), torch.randn(B, H))]
    _, [(h, c)] = layer(torch.randn(T, B, I), start)
    assert torch.equal(c, start[0][1])
    assert not torch.equal(h, start[0][0])


def test_initial_states_are_learned():
    layer = Recurrent("lstm", I, H, num_layers=2, bidirectional=True, learn_initial_state=True)
    names = {n for n, _ in layer.named_parameters() if n.startswith("initial")}
    assert names == {f"initial_{s}_l{k}{d}" for s in "hc" for k in (0, 1) for d in ("", "_reverse")}
    layer(torch.randn(T, B, I))[0].sum().backward()
    assert all(getattr(layer, n).grad.abs().sum() > 0 for n in names)


@pytest.mark.parametrize("name", EACH)
def test_every_option_at_once_for_every_cell(name):
    layer = Recurrent(
        name, I, H, num_layers=2, bidirectional=True, merge="mean", skip="highway", dropout=0.1, weight_dropout=0.1,
        variational_dropout=0.1, zoneout=0.1, learn_initial_state=True, dense=(4,), **double,
    )  # fmt: skip
    x = torch.randn(T, B, I, requires_grad=True, **double)
    y, _ = layer(x, lengths=[6, 0, 2, 1])
    assert all(torch.isfinite(g).all() for g in gradients([y], [x, *layer.parameters()]))
    layer.eval()
    assert_close(layer(x[:, :1])[0], layer(x)[0][:, :1], "batch 1 in eval")


def test_streaming_equals_the_whole_sequence():
    for name in ("lstm", "full_gru", "fgr"):
        layer = Recurrent(name, I, H, num_layers=3, skip="residual", dense=(4,), learn_initial_state=True, **double)
        x, state, ys = torch.randn(T, B, I, **double), None, []
        for x_t in x:
            y_t, state = layer.step(x_t, state)
            ys.append(y_t)
        y, final = layer(x)
        assert_close(torch.stack(ys), y, name)
        for a, b in zip(itertools.chain(*state), itertools.chain(*final), strict=True):
            assert_close(a, b, "state")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": "stack"}, "merge must be one of 'concat', 'sum', 'mean', 'mul' or None; found 'stack'"),
        ({"skip": "dense"}, "skip must be one of 'residual', 'highway' or None; found 'dense'"),
        ({"zoneout": -0.1}, "zoneout must be a number between 0 and 1"),
        ({"zoneout": (0.1, 2.0)}, "zoneout must be a number between 0 and 1"),
        ({"zoneout": (0.1, 0.1, 0.1)}, "zoneout has 3 rates, the states of LSTM are"),
        ({"weight_dropout": "0.1"}, "weight_dropout must be a number between 0 and 1"),
        ({"num_layers": 0}, "at least 1"),
        ({"bidirectional": True, "merge": None, "skip": "residual"}, "needs one output per layer"),
        ({"bidirectional": True, "merge": None, "dense": (3,)}, "dense layers need one output"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Recurrent("lstm", I, H, **options)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(UnknownCellError, match="did you mean"):
        Recurrent("lstmm", I, H)
    with pytest.raises(TypeError, match="no option 'layers'; it has bias, bidirectional"):
        Recurrent("lstm", I, H, layers=2)
    with pytest.raises(ConfigError, match="number of layers must be the same everywhere"):
        Recurrent(["lstm", "gru"], I, H, num_layers=3)
    with pytest.raises(ConfigError, match="cell must be a name, a Cell subclass"):
        Recurrent(cells.LSTM(I, H), I, H)
    with pytest.raises(ShapeError, match=r"input must be \[T, B, I\] or a PackedSequence, found 2 dimensions"):
        Recurrent("lstm", I, H)(torch.zeros(T, I))
    with pytest.raises(ShapeError, match="size I = 3 in its last dimension"):
        Recurrent("lstm", I, H)(torch.zeros(T, B, I + 1))
    with pytest.raises(ShapeError, match="state must hold, per layer and direction"):
        Recurrent("lstm", I, H)(torch.zeros(T, B, I), [(torch.zeros(B, H),)])


def test_a_bidirectional_layer_cannot_stream_and_says_why():
    with pytest.raises(ConfigError, match="its reverse direction starts at the end of the sequence"):
        Recurrent("lstm", I, H, bidirectional=True).step(torch.zeros(B, I))


# --- paths -----------------------------------------------------------------------------------------------------------


@needs_compiler
def test_the_path_is_told():
    mixed = Recurrent(["lstm", "full_gru"], I, H)
    assert explain(mixed, torch.zeros(T, B, I)).paths == ("native", "native")
    assert "layer 1  FullGRU: native (compiled from its step)" in str(explain(mixed))


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "not there"))


def test_without_a_compiler_the_fallback_warns(no_compiler):
    mixed = Recurrent(["lstm", "full_gru"], I, H)
    assert explain(mixed, torch.zeros(T, B, I)).paths == ("vendor", "reference")
    assert "torch has no kernel with the equations of FullGRU" in str(explain(mixed))
    with pytest.warns(ReferencePathWarning, match="FullGRU runs on the reference loop, right but slow: no C"):
        mixed(torch.zeros(T, B, I))
    assert explain(Recurrent("lstm", I, H, zoneout=0.1)).paths == ("reference",)
    assert explain(Recurrent("lstm", I, H, weight_dropout=0.1, skip="highway")).paths == ("vendor",)


def test_strict_raises_instead(no_compiler):
    with pytest.raises(PathError, match="strict=True forbids"):
        Recurrent("full_gru", I, H, strict=True)(torch.zeros(T, B, I))
    Recurrent("lstm", I, H, strict=True)(torch.zeros(T, B, I))


def test_a_path_can_be_forced():
    layer = Recurrent("lstm", I, H)
    with force_path("reference"):
        assert explain(layer).paths == ("reference",)
    with force_path("vendor"):
        assert explain(layer).paths == ("vendor",)
    with force_path("vendor"), pytest.raises(PathError, match="FullGRU cannot run on the vendor path"):
        Recurrent("full_gru", I, H)(torch.zeros(T, B, I))
    with pytest.raises(PathError, match="no path is called 'fast'"), force_path("fast"):
        pass


def test_a_subclass_with_other_equations_does_not_take_the_vendor_path():
    class Twice(cells.LSTM):
        def step(self, x, h, c):
            h, c = super().step(x, h, c)
            return 2 * h, c

    with force_path("vendor"), pytest.raises(PathError, match="torch has no kernel with the equations of Twice"):
        explain(Recurrent(Twice, I, H))


def test_the_reference_has_second_derivatives():
    layer, x = Recurrent("lstm", I, 2, **double), torch.randn(3, 1, I, requires_grad=True, **double)
    with force_path("reference"):
        assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], [x], fast_mode=True)
        per_sample = torch.func.vmap(lambda x: layer(x[:, None])[0][:, 0])(torch.randn(4, 3, I, **double))
    assert per_sample.shape == (4, 3, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["lstm", "full_gru"])
def test_lengths_on_a_gpu(name):
    layer = Recurrent(name, I, H, num_layers=2, bidirectional=True, **double)
    x = torch.randn(T, B, I, **double)
    wanted = layer(x, lengths=[2, 6, 0, 4])[0]
    found = layer.cuda()(x.cuda(), lengths=torch.tensor([2, 6, 0, 4], device="cuda"))[0]
    assert_close(found.cpu(), wanted, "on the GPU")


def test_public_layers_are_the_documented_ones():
    assert {"RNN", "GRU", "LSTM", "Recurrent", "Cell"} <= set(gateflow.__all__)

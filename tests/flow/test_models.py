"""Reach in models that are not ours: torch.nn's layers and cells, packed, truncated, with things between the layers."""

import shutil

import pytest
import torch
from tests.flow.by_hand import gradients, reach_of_row
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import gateflow
from gateflow import cells
from gateflow.flow import reach, terms
from gateflow.layers import cells_in
from gateflow.recurrence import force_path

F64 = torch.float64
LAYERS = {
    "rnn": lambda **o: nn.RNN(3, 4, **o),
    "relu": lambda **o: nn.RNN(3, 4, nonlinearity="relu", **o),
    "gru": lambda **o: nn.GRU(3, 4, **o),
    "lstm": lambda **o: nn.LSTM(3, 4, **o),
}


def brute(stack, x, v):
    """Full-state norms per layer and direction, `[T, T, B]`."""
    rows = [[norms[-1] for norms in reach_of_row(stack, x[:, b], v[:, b], len(x))] for b in range(x.shape[1])]
    return [torch.stack(column, -1) for column in zip(*rows, strict=True)]


def assert_norms(layer, wanted):
    assert not wanted[layer.norms.isnan()].any()
    torch.testing.assert_close(layer.norms.nan_to_num(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_torchs_layers_stacked_in_both_directions(kind, batch_first):
    layer = LAYERS[kind](num_layers=2, bidirectional=True, batch_first=batch_first, dtype=F64)
    x, v = torch.randn(5, 2, 3, dtype=F64), torch.randn(5, 2, 8, dtype=F64)
    every = list(cells_in(layer).values())
    turn = (lambda t: t.transpose(0, 1)) if batch_first else (lambda t: t)
    found = reach(nn.ModuleDict({"rnn": layer}), turn(x), lambda m, x: (m["rnn"](x)[0] * turn(v)).sum(), floor=0)
    assert list(found.layers) == ["rnn.l0", "rnn.l0_reverse", "rnn.l1", "rnn.l1_reverse"]
    for result, wanted in zip(found.layers.values(), brute([every[:2], every[2:]], x, v), strict=True):
        assert_norms(result, wanted)


def test_projections_packed_in_any_order():
    torchs, lengths = nn.LSTM(3, 5, proj_size=2, bidirectional=True, dtype=F64), [2, 4, 3]
    ours = gateflow.LSTM(3, 5, proj_size=2, bidirectional=True, dtype=F64)
    ours.load_state_dict(torchs.state_dict())
    x, v = torch.randn(4, 3, 3, dtype=F64), torch.randn(4, 3, 4, dtype=F64)

    def loss(model, x):
        y, _ = model(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return (nn.utils.rnn.pad_packed_sequence(y)[0] * v).sum()

    for model in (torchs, ours):
        found = list(reach(model, x, loss, floor=0).layers.values())
        for b, n in enumerate(lengths):
            for layer, wanted in zip(found, reach_of_row([ours.cells], x[:n, b], v[:n, b], 4), strict=True):
                row = layer.norms[..., b]
                torch.testing.assert_close(row.nan_to_num(), wanted[-1], rtol=1e-9, atol=1e-12)
                assert row[:, n:].isnan().all()
                assert row[n:].isnan().all()


class Loop(nn.Module):
    """Two cells in a loop of the user's own, the state cut before some steps."""

    def __init__(self, lower, upper, cut=()):
        super().__init__()
        self.lower, self.upper, self.cut = lower, upper, cut

    def forward(self, x):
        a, b, outputs = None, None, []
        for k, x_k in enumerate(x):
            if k in self.cut:
                a, b = detached(a), detached(b)
            a = self.lower(x_k, a)
            b = self.upper(first(a), b)
            outputs.append(first(b))
        return torch.stack(outputs)


def first(state):
    return state[0] if isinstance(state, tuple) else state


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


CELLS = {
    "rnn": lambda *s: (nn.RNNCell(*s, dtype=F64), cells.Elman),
    "gru": lambda *s: (nn.GRUCell(*s, dtype=F64), cells.GRU),
    "lstm": lambda *s: (nn.LSTMCell(*s, dtype=F64), cells.LSTM),
    "ours": lambda *s: (cells.PeepholeLSTM(*s, dtype=F64), cells.PeepholeLSTM),
}


@pytest.mark.parametrize("kind", CELLS)
def test_cells_in_a_loop_of_the_users_own(kind):
    (lower, cls), (upper, _) = CELLS[kind](3, 4), CELLS[kind](4, 4)
    model, x = Loop(lower, upper), torch.randn(5, 2, 3, dtype=F64)
    v = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(0), dtype=F64)
    same = [cls(c.input_size, 4, dtype=F64) for c in (lower, upper)]
    for copy, cell in zip(same, (lower, upper), strict=True):
        copy.load_state_dict(cell.state_dict())
    found = reach(model, x, floor=0)
    assert list(found.layers) == ["lower", "upper"]
    for layer, wanted in zip(found.layers.values(), brute([[same[0]], [same[1]]], x, v), strict=True):
        assert_norms(layer, wanted)
    assert terms(model, x, weight="lower.weight_ih").error < 1e-12


def test_what_truncation_cuts_is_marked_as_cut():
    model, x = Loop(nn.LSTMCell(3, 4), nn.GRUCell(4, 4), cut=(3, 5)), torch.randn(7, 2, 3)
    for layer in reach(model, x, floor=0).layers.values():
        assert layer.cuts == (3, 5)
        assert layer.cut[4, 2].all()  # t = 4, k = 2: the cut before step 3 lies between
        assert not layer.cut[4, 3].any()
        assert layer.norms[4, 2].isnan().all()
        assert layer.horizon == 2
        assert layer.open
    whole = reach(Loop(model.lower, model.upper), x, floor=0)
    assert all(not layer.cut.any() and layer.norms[6, 0].gt(0).all() for layer in whole.layers.values())


def test_windows_with_a_carried_state():
    layer, x = gateflow.LSTM(3, 4, dtype=F64), torch.randn(8, 2, 3, dtype=F64)

    def windows(model, x, cut):
        y, state = model(x[:5])
        state = tuple(part.detach() for part in state) if cut else state
        z, _ = model(x[5:], state)
        return torch.cat([y, z]).square().sum()

    whole = reach(layer, x, lambda m, x: m(x)[0].square().sum(), floor=0).layers["l0"]
    carried = reach(layer, x, lambda m, x: windows(m, x, cut=False), floor=0).layers["l0"]
    torch.testing.assert_close(carried.matrix, whole.matrix, equal_nan=True)
    cut = reach(layer, x, lambda m, x: windows(m, x, cut=True), floor=0).layers["l0"]
    assert cut.cuts == (5,)
    torch.testing.assert_close(cut.matrix[5:, 5:], whole.matrix[5:, 5:], equal_nan=True)
    assert cut.matrix[5:, :5].isnan().all()


def test_two_sentences_are_two_sequences():
    layer, x = nn.GRU(3, 4), torch.randn(2, 6, 2, 3)
    found = reach(layer, x, lambda m, x: (m(x[0])[0] * m(x[1])[0]).sum())
    assert list(found.layers) == ["l0", "l0 (call 2)"]


class Tower(nn.Module):
    """An encoder-decoder with attention: everything above the encoder counts."""

    def __init__(self):
        super().__init__()
        self.encoder, self.norm = nn.GRU(3, 4, bidirectional=True, dtype=F64), nn.LayerNorm(8, dtype=F64)
        self.decoder = gateflow.Recurrent("full_gru", 8, 8, dtype=F64)

    def forward(self, x):
        y, _ = self.encoder(x)
        keys = self.norm(y)
        z, _ = self.decoder(y[:3])
        weights = torch.einsum("tbh,sbh->tsb", z, keys).softmax(1)
        return torch.einsum("tsb,sbh->tbh", weights, keys)


def test_the_sum_over_targets_is_the_gradient_whatever_stands_between_and_above():
    model, x = Tower(), torch.randn(6, 2, 3, dtype=F64)
    for weight in ("weight_hh", "weight_ih", "bias_ih"):
        assert terms(model, x, weight=weight).error < 1e-12


def test_masks_of_dropout_and_zoneout_are_those_of_the_run():
    options = {"dropout": 0.3, "variational_dropout": 0.2, "zoneout": 0.3, "weight_dropout": 0.2, "dtype": F64}
    model = gateflow.Recurrent(["lstm", "gru"], 3, 4, bidirectional=True, learn_initial_state=True, **options)
    for lengths in (None, [6, 4]):
        x = torch.randn(6, 2, 3, dtype=F64)
        found = terms(model, x, lambda m, x, lengths=lengths: m(x, lengths=lengths)[0].square().sum())
        assert found.error < 1e-12


def test_under_autocast_the_replay_is_in_full_precision():
    model, x = nn.Sequential(nn.Linear(3, 3), gateflow.LSTM(3, 4)), torch.randn(6, 2, 3)

    def loss(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)[0].float().square().sum()

    half, full = (reach(model, x, f).layers["1.l0"] for f in (loss, lambda m, x: m(x)[0].square().sum()))
    assert half.norms.dtype == torch.float32
    torch.testing.assert_close(half.decay.values[:3], full.decay.values[:3], rtol=0.1, atol=0)


def test_a_step_that_mixes_units_is_left_to_autograd():
    class Ordered(gateflow.Cell):
        states = ("c",)
        gates = ("update", "content")

        def step(self, x, c):
            u = torch.softmax(self.update(c, x), dim=-1).cumsum(-1)
            return u * torch.tanh(self.content(c, x)) + (1 - u) * c

    model, x, v = gateflow.Recurrent(Ordered, 3, 4, dtype=F64), torch.randn(5, 2, 3, dtype=F64), torch.randn(5, 2, 4)
    found = reach(model, x, lambda m, x: (m(x)[0] * v).sum(), floor=0)
    assert_norms(found.layers["l0"], brute([model.cells], x, v)[0])
    assert terms(model, x).error < 1e-12


def test_a_loss_at_the_last_step_is_one_target():
    model, x = nn.LSTM(3, 4, dtype=F64), torch.randn(6, 2, 3, dtype=F64)
    found = reach(model, x, lambda m, x: m(x)[1][1].sum(), floor=0)  # c_T alone
    layer = found.layers["l0"]
    assert layer.targets == (5,)
    assert layer.matrix[:5].isnan().all()
    assert not layer.parts["h"][0, 5].any()
    torch.testing.assert_close(layer.parts["c"][0, 5], torch.full((2,), 2.0, dtype=F64))
    (cell,) = cells_in(model).values()
    state, starts = cell.initial_state(x[0]), []
    for x_k in x:
        state = tuple(part.clone() for part in cell(x_k, state))
        starts.append(state)
    for k, at_k in enumerate(starts):
        wanted = torch.cat(gradients(state[1].sum(), at_k), -1).norm(dim=-1)
        torch.testing.assert_close(layer.norms[0, k], wanted)


def test_nothing_of_the_model_changes():
    model, x = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    before = {n: w.clone() for n, w in model.state_dict().items()}
    random = torch.get_rng_state()
    one, other = (reach(model, x).layers["l0"].norms for _ in range(2))
    assert torch.equal(one.nan_to_num(), other.nan_to_num())
    terms(model, x)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not model._forward_hooks


def test_weights_dropped_afresh_at_each_call_are_added_up():
    layer, x = gateflow.Recurrent("lstm", 3, 4, weight_dropout=0.5, dtype=F64), torch.randn(6, 2, 3, dtype=F64)
    found = terms(layer, x, lambda m, x: (m(x)[0] * m(x.flip(0))[0]).sum())
    assert found.error < 1e-12


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler on the PATH")
def test_on_the_native_path_the_terms_add_up_to_the_kernels_gradient():
    layer, x = gateflow.Recurrent("peephole_lstm", 3, 4, bidirectional=True), torch.randn(6, 2, 3)
    with force_path("native"):
        found = terms(layer, x, lambda m, x: m(x, lengths=[6, 4])[0].square().sum())
    assert found.error < 1e-5


def test_a_layer_that_streams_is_one_sequence():
    layer, x = gateflow.Recurrent("full_gru", 3, 4, num_layers=2, dtype=F64), torch.randn(6, 2, 3, dtype=F64)

    def streamed(model, x):
        state, total = None, 0
        for x_k in x:
            y, state = model.step(x_k, state)
            total = total + y.square().sum()
        return total

    whole = reach(layer, x, lambda m, x: m(x)[0].square().sum(), floor=0)
    for name, found in reach(layer, x, streamed, floor=0).layers.items():
        torch.testing.assert_close(found.norms, whole.layers[name].norms, equal_nan=True)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_final_states_of_ragged_rows_start_a_decoder(bidirectional):
    options = {"bidirectional": bidirectional, "merge": "sum", "dtype": F64}
    encoder, decoder = (gateflow.Recurrent("lstm", 3, 4, **options) for _ in range(2))
    model, x = nn.ModuleDict({"encoder": encoder, "decoder": decoder}), torch.randn(6, 3, 3, dtype=F64)

    def loss(model, x):
        _, state = model["encoder"](x, lengths=[6, 2, 4])
        return model["decoder"](x[:4], state, lengths=[1, 4, 3])[0].square().sum()

    assert terms(model, x, loss).error < 1e-12

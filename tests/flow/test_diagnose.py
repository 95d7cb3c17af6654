"""One model made sick on purpose per finding, and healthy ones, which must not raise an alarm."""

import functools
import math
import re

import pytest
import torch
from torch import nn

import gateflow
from gateflow import flow
from gateflow.errors import FlowError, NonFiniteError
from gateflow.remedies import NormClipper, init
from gateflow.runs.config import TrainingConfig
from gateflow.tasks.language_model.config import ModelConfig

T, B, INPUTS, H = 40, 3, 4, 16


def x(steps=T):
    return torch.randn(steps, B, INPUTS)


def last(model, batch):
    return model(batch)[0][-1].square().sum()


def changed(model, function, *args):
    function(model, *args)
    return model


@torch.no_grad()
def scaled(model, **factors):
    for name, weight in model.named_parameters():
        weight.mul_(next((f for part, f in factors.items() if part in name), 1.0))
    return model


@torch.no_grad()
def with_gate_bias(layer, gate, value):
    layer.bias_ih_l0.view(4, -1)["ifgo".index(gate)] = value
    return layer


class Padded(nn.Module):
    """A classifier that reads the state after the padding."""

    def __init__(self):
        super().__init__()
        self.embed, self.layer = nn.Embedding(9, INPUTS, padding_idx=0), gateflow.Recurrent("lstm", INPUTS, H)

    def forward(self, words, lengths=None):
        return self.layer(self.embed(words), lengths=lengths)[1][0][0]


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.other = changed(nn.LSTM(INPUTS, H), init.chrono, 30), nn.Linear(H, H)

    def forward(self, batch):
        return self.layer(batch)


class Windows(nn.Module):
    """Carries the state from window to window, detached."""

    def __init__(self, window):
        super().__init__()
        self.layer, self.window = changed(nn.LSTM(INPUTS, H), init.chrono, 30), window

    def forward(self, batch):
        outputs, state = [], None
        for piece in batch.split(self.window):
            y, state = self.layer(piece, state)
            outputs.append(y)
            state = tuple(part.detach() for part in state)
        return torch.cat(outputs)


def padded_words():
    lengths = torch.tensor([8, 12, 10])
    words = torch.randint(1, 9, (T, B))
    return torch.where(torch.arange(T)[:, None] < lengths, words, 0), lengths


def read_at_the_end(model, batch):
    return model(batch).square().sum()


def default_lstm():
    return nn.LSTM(INPUTS, H)


def default_rnn():
    return nn.RNN(INPUTS, H)


def open_lstm():
    return changed(nn.LSTM(INPUTS, H), init.chrono, 30)


SICK = {
    "vanishing": lambda: (default_rnn(), x(), None, {"needed_lag": 30}),
    "short-half-life": lambda: (default_lstm(), x(), None, {"needed_lag": 30}),
    "exploding": lambda: (scaled(nn.RNN(INPUTS, H, nonlinearity="relu"), weight_hh=6.0), x(), None, {}),
    "window-too-short": lambda: (Windows(10), x(), None, {"needed_lag": 30}),
    "padding-read": lambda: (Padded(), padded_words()[0], read_at_the_end, {}),
    "saturated-units": lambda: (changed(nn.LSTM(INPUTS, H), init.forget_bias, 6.0), x(80), None, {}),
    "saturated-gates": lambda: (with_gate_bias(open_lstm(), "o", -5.0), x(), None, {}),
    "dead-units": lambda: (dying_relu(), x(), None, {"needed_lag": 2}),
    "no-gradient": lambda: (Unused(), x(), None, {}),
    "deep-stack": lambda: (nn.LSTM(INPUTS, H, num_layers=5), x(10), None, {"needed_lag": 2}),
    "outshone-memory": lambda: (drowned_memory(), x(), None, {}),
    "clipping": lambda: (open_lstm(), x(), None, {"clip_history": clipper(norms=[3.0] * 9, threshold=1.0)}),
    "heavy-tail": lambda: (open_lstm(), x(), None, {"clip_history": clipper(norms=[1.0] * 99 + [50.0, 60.0])}),
    "skipped-steps": lambda: (open_lstm(), x(), None, {"clip_history": clipper(norms=[1.0] * 30 + [math.nan])}),
    "coarse-gates": lambda: (changed(nn.LSTM(INPUTS, H), init.chrono, 2000).bfloat16(), x().bfloat16(), None, {}),
    "subnormals": lambda: (default_lstm(), x(200), last, {}),
    "collapsed-horizon": lambda: (open_lstm(), x(), None, {"history": horizons(99, 90, 24, 20, 11, 10)}),
    "unstable-horizon": lambda: (open_lstm(), x(), None, {"history": horizons(8, 99, 6, 9, 95, 7, 8)}),
    "not-the-gradient": lambda: (open_lstm(), x(), None, {"history": [{"loss": 1.4 - k / 1e4} for k in range(9)]}),
}


@torch.no_grad()
def dying_relu():
    layer = nn.RNN(INPUTS, H, nonlinearity="relu")
    layer.bias_ih_l0[: H // 2] = -20.0
    return layer


@torch.no_grad()
def drowned_memory():
    """Orthogonal recurrent matrices, large for what is written, and a memory that lasts."""
    layer = gateflow.LSTM(INPUTS, H)
    init.orthogonal(layer, 8.0)
    init.forget_bias(layer, 3.0)
    return layer


def horizons(*values):
    return [{"step": 50 * k, "horizon": h} for k, h in enumerate(values)]


def clipper(norms, threshold=None):
    weight = nn.Linear(1, 1, bias=False)
    found = NormClipper(weight, threshold)
    for norm in norms:
        weight.weight.grad = torch.full((1, 1), norm)
        found.step()
    return found


@pytest.mark.parametrize("name", SICK)
def test_the_sick_are_found(name):
    model, batch, loss, options = SICK[name]()
    report = flow.diagnose(model, batch, loss, compare=False, **options)
    found = {finding.name: finding for finding in report.findings}
    assert name in found, list(found)
    assert found[name].severity in ("problem", "warning")
    for line in (found[name].code, found[name].options):
        _exists(line)
    assert found[name].code or found[name].options
    assert any(figure in found[name].says for figure in "0123456789")


def test_saturation_is_no_fault_of_a_model_that_learns_nor_are_decisions_that_a_gate_lets_in():
    model = changed(nn.LSTM(INPUTS, H), init.forget_bias, 6.0)
    falls = [{"loss": 2 - k / 5} for k in range(6)]
    for history, found in ((falls[:4], True), ([{"loss": 2.0}] * 6, True), (falls, False)):
        report = flow.diagnose(model, x(80), history=history, compare=False)
        assert ("saturated-units" in {finding.name for finding in report.findings}) == found
    decided = scaled(default_lstm(), weight_ih=8.0)
    report = flow.diagnose(decided, x(), compare=False)
    assert 0.3 < report.gates.layers["l0"].activations["content"].high < 0.9
    assert "saturated-units" not in {finding.name for finding in report.findings}


def test_a_flat_loss_is_not_laid_at_the_rate_where_a_layer_is_cut_off():
    model, batch, _, options = SICK["deep-stack"]()
    flat = [{"loss": 7.06 - k / 1e4} for k in range(9)]
    found = {finding.name for finding in flow.diagnose(model, batch, compare=False, history=flat, **options).findings}
    assert "deep-stack" in found
    assert "not-the-gradient" not in found


def _exists(code):
    """Whatever names of this library and flags of its command line a remedy uses, there are."""
    names = re.findall(r"gateflow((?:\.\w+)+)", code)
    flags = re.findall(r"--([a-z-]+)", code)
    for name in names:
        functools.reduce(getattr, name.strip(".").split("."), gateflow)
    known = {field for section in (ModelConfig, TrainingConfig) for field in section.model_fields}
    assert {flag.replace("-", "_") for flag in flags} <= known
    assert (
        names
        or flags
        or not code
        or code.startswith(("model.float", "torch.set_flush_denormal", "parameter.requires", "layer.reset_parameters"))
    )


HEALTHY = {
    "chrono lstm": lambda: (open_lstm(), {"needed_lag": 20}),
    "chrono gru": lambda: (changed(nn.GRU(INPUTS, H), init.chrono, 30), {"needed_lag": 20}),
    "chrono of ours": lambda: (changed(gateflow.Recurrent("full_gru", INPUTS, H), init.chrono, 30), {"needed_lag": 20}),
    "identity": lambda: (changed(nn.RNN(INPUTS, H, nonlinearity="relu"), init.identity), {"needed_lag": 20}),
    "default lstm, short lag": lambda: (default_lstm(), {"needed_lag": 3}),
    "two layers, both ways": lambda: (nn.LSTM(INPUTS, H, num_layers=2, bidirectional=True), {"needed_lag": 3}),
    "deep with skips": lambda: (
        gateflow.Recurrent("lstm", INPUTS, H, num_layers=5, skip="residual"),
        {"needed_lag": 3},
    ),
    "window that fits": lambda: (Windows(30), {"needed_lag": 20}),
    "calm clipper": lambda: (open_lstm(), {"clip_history": clipper([0.5, 0.7, 0.6], threshold=1.0)}),
    "falling loss": lambda: (open_lstm(), {"history": [{"loss": 2.0 / (1 + k), "horizon": 39} for k in range(9)]}),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_healthy_raise_no_alarm(name, seed):
    torch.manual_seed(seed)
    model, options = HEALTHY[name]()
    report = flow.diagnose(model, x(), compare=False, **options)
    assert [finding.name for finding in report.findings] == ["healthy"]
    assert report.findings[0].evidence["left at lag"] > 0.01


def test_a_layer_that_another_one_reads_is_not_outshone_for_the_ways_that_lead_over_that_one():
    def drowned(model):
        torch.manual_seed(0)
        init.orthogonal(model, 8.0)
        return [f.where for f in flow.diagnose(model, x(), compare=False).findings if f.name == "outshone-memory"]

    deep = changed(gateflow.LSTM(INPUTS, H, num_layers=3), init.forget_bias, 3.0)
    assert drowned(drowned_memory()) == ["l0"]
    assert set(drowned(deep)) <= {"l2"}


@pytest.mark.parametrize(("reset_at", "found"), [(25, False), (2, True)])
def test_a_memory_that_is_reset_at_times_is_judged_between_its_resets(reset_at, found):
    """One unit in sixteen keeps all but where it is told to forget; its geometric mean is short either way."""
    model, batch = default_lstm(), x(120)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.1)
        model.weight_ih_l0.view(4, H, INPUTS)[1, 0] = torch.tensor([-60.0, 0.0, 0.0, 0.0])
        model.bias_ih_l0.view(4, H)[1, 0] = 9.0
    batch[..., 0] = 0.0
    batch[::reset_at, :, 0] = 1.0
    report = flow.diagnose(model, batch, needed_lag=20, compare=False)
    assert report.gates is not None
    assert report.gates.layers["l0"].half_lives[0] < 5
    assert report.findings[0].name == "vanishing"
    assert ("short-half-life" in [f.name for f in report.findings]) == found


def test_lengths_cure_what_padding_did():
    words, lengths = padded_words()
    model = Padded()
    report = flow.diagnose(model, words, lambda m, w: m(w, lengths).square().sum(), needed_lag=3, compare=False)
    assert report.findings[0].name == "healthy"
    sick = flow.diagnose(model, words, read_at_the_end, compare=False)
    (finding,) = (f for f in sick.findings if f.name == "padding-read")
    assert finding.severity == "problem"
    assert finding.evidence["share padded"] == pytest.approx(1 - 10 / T)


def test_padding_that_the_loss_leaves_out_is_none():
    words, lengths = padded_words()
    there = torch.arange(T)[:, None] < lengths

    def masked(model, batch):
        return (model.layer(model.embed(batch))[0] * there[..., None]).square().sum()

    report = flow.diagnose(Padded(), words, masked, needed_lag=3, compare=False)
    assert "padding-read" not in [f.name for f in report.findings]


def test_a_pause_of_all_rows_alike_is_no_padding():
    batch = x()
    batch[20:] = 0.0
    report = flow.diagnose(default_rnn(), batch, last, needed_lag=3, compare=False)
    assert "padding-read" not in [f.name for f in report.findings]


def test_an_open_window_is_a_warning_without_a_needed_lag():
    (finding,) = flow.diagnose(open_lstm(), x(), window=T, compare=False).findings
    assert (finding.name, finding.severity) == ("window-too-short", "warning")


def test_a_window_longer_than_the_batch_is_not_what_is_too_short():
    assert flow.diagnose(open_lstm(), x(), needed_lag=60, window=100, compare=False).findings[0].name == "healthy"


def test_what_a_run_counts_on_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(T), nn.LSTM(INPUTS, H, batch_first=True))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    flow.diagnose(model, torch.randn(B, T, INPUTS))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert len(before) == 3


def test_records_of_a_run_serve_as_clip_history():
    records = [{"kind": "train", "step": 50, "clipped": 0.9, "gradient_norm": 2.0}, {"kind": "valid", "loss": 1.0}]
    (finding,) = flow.diagnose(open_lstm(), x(), clip_history=records, compare=False).findings
    assert finding.name == "clipping"
    assert finding.evidence["median norm"] == 2.0


def test_torchs_gates_under_autocast_are_coarse_and_ours_are_not():
    for kind, expected in ((nn.LSTM, ["coarse-gates"]), (gateflow.LSTM, ["healthy"])):
        model = changed(kind(INPUTS, H), init.chrono, 2000)
        with torch.autocast("cpu", torch.bfloat16):
            report = flow.diagnose(model, x(), compare=False)
        assert [f.name for f in report.findings] == expected


def test_a_loss_that_stands_still_is_said_with_a_gradient_that_vanished():
    history = [{"loss": 1.4 - k / 1e4} for k in range(9)]
    first, *_ = flow.diagnose(default_rnn(), x(), needed_lag=30, history=history, compare=False).findings
    assert first.name == "vanishing"
    assert "stands still" in first.says


def test_a_lag_that_the_batch_does_not_have():
    first, *_ = flow.diagnose(open_lstm(), x(), needed_lag=100, compare=False).findings
    assert (first.name, first.severity) == ("window-too-short", "problem")
    assert "sees 40 at a time" in first.says


def test_the_worst_comes_first():
    report = flow.diagnose(Windows(10), x(), needed_lag=30, clip_history={"clipped_share": 0.9}, compare=False)
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, key=flow.rules.SEVERITIES.index)
    assert {"problem", "warning"} <= set(severities)


def test_it_leaves_the_model_as_it_was():
    model = nn.LSTM(INPUTS, H, num_layers=2)
    model.weight_hh_l0.grad = torch.ones_like(model.weight_hh_l0)
    before = {name: (weight, weight.clone(), weight._version) for name, weight in model.named_parameters()}
    batch, seed = x(), torch.get_rng_state()
    flow.diagnose(model, batch)
    for name, weight in model.named_parameters():
        same, value, version = before[name]
        assert weight is same
        assert torch.equal(weight, value)
        assert weight._version == version
    assert torch.equal(torch.get_rng_state(), seed)
    assert torch.equal(model.weight_hh_l0.grad, torch.ones_like(model.weight_hh_l0))
    assert all(a is b for a, b in zip(model._flat_weights, model.parameters(), strict=True))


@pytest.mark.parametrize("compare", [False, True])
def test_the_model_runs_once_for_all_instruments(compare):
    """Once traced, once left to itself to compare with, and once for each set of other weights."""
    runs, model = [], default_lstm()
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    report = flow.diagnose(model, x(), compare=compare)
    assert len(runs) == 2 + (len(report.what_if.rows) - 1 if compare else 0)


def test_instruments_that_share_a_trace_find_what_each_finds_alone():
    model = gateflow.Recurrent("lstm", INPUTS, H, num_layers=2, bidirectional=True, dropout=0.2, zoneout=0.1)
    batch, loss = x(), lambda m, b: m(b, lengths=[T, 7, 20])[0].square().mean()
    report = flow.diagnose(model, batch, loss, seed=3)
    assert report.reach.to_dict() == flow.reach(model, batch, loss, seed=3).to_dict()
    assert report.gates.to_dict() == flow.gates(model, batch, loss, seed=3).to_dict()
    assert report.lyapunov.to_dict() == flow.lyapunov(model, batch, loss, seed=3).to_dict()
    assert report.terms.to_dict() == flow.terms(model, batch, loss, targets=16, seed=3).to_dict()
    assert report.what_if.to_dict() == flow.what_if(model, batch, loss, seed=3).to_dict()


def test_for_machines_and_for_a_terminal():
    import json

    report = flow.diagnose(default_lstm(), x(), needed_lag=30, tokens=["the", "cat"])
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["findings"][0]["name"] == "vanishing"
    assert found["context"]["tokens"] == ["the", "cat"]
    text = str(report)
    assert "chrono(model, max_lag=30)" in text
    assert text.index("Findings") < text.index("Gradient horizon") < text.index("What if")


@pytest.mark.parametrize("options", [{"needed_lag": 0}, {"needed_lag": True}, {"window": 2.5}])
def test_steps_that_are_none(options):
    with pytest.raises(FlowError, match="number of steps, at least 1"):
        flow.diagnose(default_lstm(), x(), **options)


def test_what_cannot_be_measured():
    with pytest.raises(FlowError, match="no recurrent layer"):
        flow.diagnose(nn.Linear(INPUTS, 2), x())
    with pytest.raises(FlowError, match="have one step"):
        flow.diagnose(default_lstm(), x(1))
    with pytest.raises(FlowError, match="all lengths are 0"):
        flow.diagnose(gateflow.Recurrent("lstm", INPUTS, H), x(), lambda m, b: m(b, lengths=[0] * B)[0].sum())
    with pytest.raises(FlowError, match="take fewer"):
        flow.diagnose(nn.LSTM(INPUTS, 64), x(), memory_limit=2**16)
    model = default_lstm()
    model.weight_hh_l0.data[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="weight_hh_l0"):
        flow.diagnose(model, x())


def test_frozen_weights_are_no_finding():
    model = open_lstm().requires_grad_(False)
    assert flow.diagnose(model, x(), compare=False).findings[0].name == "healthy"

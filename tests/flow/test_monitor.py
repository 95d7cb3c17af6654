"""The monitor in a loop: what it takes down, what it costs, and where it says that a run broke."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import gateflow
from gateflow import flow
from gateflow.errors import ConfigError, FlowError, FlowWarning, NonFiniteError
from gateflow.flow import Monitor
from gateflow.flow.monitor import snapshot

T, B, INPUTS, H = 12, 3, 4, 8


class Model(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.encoder = gateflow.Recurrent("lstm", INPUTS, H, **options)
        self.out = nn.Linear(H, 1)

    def forward(self, x, scale=1.0):
        return self.out(self.encoder(x * scale)[0])


def batches():
    generator = torch.Generator().manual_seed(1)
    while True:
        yield torch.randn(T, B, INPUTS, generator=generator)


def train(model, steps, monitor=None, lr=0.1):
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for _, x in zip(range(steps), batches(), strict=False):
        optimizer.zero_grad()
        loss = (model(x, scale=2.0) - x.sum(-1, keepdim=True)).square().mean()
        loss.backward()
        if monitor is not None:
            monitor.step(loss)
        optimizer.step()
    return x


def test_the_record_is_what_reach_says():
    model = Model()
    monitor = Monitor(model, every=3, needed_lag=5, budget=1.0)
    x = train(model, 3, monitor, lr=0.0)
    first, record = monitor.history
    assert (first["step"], record["longest"]) == (1, T - 1)
    found = flow.reach(model, {"x": x, "scale": 2.0}, targets=4, seed=3)
    assert record["step"] == 3
    assert record["horizon"] == found.horizon == record["horizon/encoder.l0"]
    assert record["left"] == pytest.approx(found.layers["encoder.l0"].left_at(5))


def test_with_a_loss_of_ones_own():
    model, x = nn.GRU(INPUTS, H), torch.randn(T, B, INPUTS)

    def last(model, batch):
        return model(batch)[0][-1].sum()

    monitor = Monitor(model, every=1, loss=last)
    value = last(model, x)
    value.backward()
    monitor.step(value, x)
    assert monitor.history[0]["horizon"] == flow.reach(model, x, last).horizon
    with pytest.raises(ConfigError, match="needs the batch"):
        monitor.step(value)


def test_a_watched_run_is_the_same_run():
    def run(watched):
        torch.manual_seed(0)
        model = Model(variational_dropout=0.5, num_layers=2, zoneout=0.1)
        monitor = Monitor(model, every=2, budget=1.0) if watched else None
        train(model, 7, monitor)
        assert not watched or (len(monitor.history) == 4 and 0 < monitor.history[-1]["share"] < 1)
        assert all(module.training for module in model.modules())
        return list(model.parameters()), torch.get_rng_state()

    (one, rng), (other, rng_too) = run(True), run(False)
    assert all(torch.equal(a, b) and torch.equal(a.grad, b.grad) for a, b in zip(one, other, strict=True))
    assert torch.equal(rng, rng_too)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@settings(max_examples=20)
@given(cost=st.floats(0.5, 100), every=st.integers(1, 200))
def test_it_keeps_to_its_budget_whatever_a_measurement_costs(cost, every):
    clock, model = Clock(), nn.GRU(INPUTS, H)
    monitor = Monitor(model, every, clock=clock)
    monitor._inputs = {}

    def measure(value, batch):
        clock.now += cost
        monitor.history.append({"step": monitor.steps})

    monitor._measure = measure
    steps = 5_000
    for _ in range(steps):
        clock.now += 1
        monitor.step(1.0)
    assert cost * len(monitor.history) <= 0.02 * clock.now
    assert len(monitor.history) >= min(steps // every, 0.02 * steps / cost - 1) * 0.4


def test_the_build_of_kernels_is_on_nobodys_account():
    """The first measurement and the first step take a thousand times as long as any other."""
    clock, model = Clock(), nn.GRU(INPUTS, H)
    monitor = Monitor(model, every=10, clock=clock)
    monitor._inputs, costs = {}, iter([1000.0])

    def measure(value, batch):
        clock.now += next(costs, 1.0)
        monitor.history.append({"step": monitor.steps})

    monitor._measure = measure
    clock.now += 1000.0
    for _ in range(2_000):
        clock.now += 1
        monitor.step(1.0)
    assert len(monitor.history) > 0.9 * 0.02 * 2_000
    assert monitor.history[-1]["share"] < 0.021
    assert [record["step"] for record in monitor.history[:2]] == [1, 100]  # two seconds of a hundred


@pytest.mark.parametrize("loss", [None, lambda model, batch: model(batch)[0].square().sum()])
def test_warmed_up_by_hand_it_measures_once_and_takes_down_the_same(loss, monkeypatch):
    def watched(by_hand):
        torch.manual_seed(0)
        model, x = nn.GRU(INPUTS, H), torch.randn(T, B, INPUTS)
        monitor = Monitor(model, every=1, budget=1.0, loss=loss)
        model(x)
        if by_hand:
            monitor.warm_up(x if loss else None)
        asked.clear()
        model(x)[0].square().sum().backward()
        monitor.step(1.0, x if loss else None)
        return monitor.history[0]["horizon"], len(asked), monitor.curves.heatmap("l0").shape

    asked, reach = [], flow.monitor.monitor.reach
    monkeypatch.setattr(flow.monitor.monitor, "reach", lambda *a, **k: asked.append(1) or reach(*a, **k))
    (by_hand, once, curves), (by_itself, twice, others) = watched(True), watched(False)
    assert by_hand == by_itself
    assert (once, twice) == (1, 2)
    assert curves == others


class Counted(TorchDispatchMode):
    """Multiplications and additions of matrix products."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def test_a_measurement_is_a_few_training_steps():
    """Counted: multiplications of matrices. At the default `every`, 2.5 steps are 2.5 %."""
    model, x = gateflow.Recurrent("lstm", 32, 32), torch.randn(35, 16, 32)
    with Counted() as training:
        model(x)[0].square().mean().backward()
    monitor = Monitor(model)
    monitor._inputs = {"x": x}
    with Counted() as measuring:
        monitor._measure(1.0, {"x": x})
    assert monitor.history[0]["horizon"] > 0
    assert 0 < measuring.total <= 2.5 * training.total


def test_it_stops_where_activations_overflow(tmp_path):
    layer = nn.RNN(INPUTS, H, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(1e6 * torch.eye(H))
    x = torch.rand(T, B, INPUTS)
    monitor = Monitor(layer, folder=tmp_path / "step")
    y = layer(x)[0]
    first = int((~y.isfinite()).any(-1).any(-1).nonzero()[0])
    assert 0 < first < T - 1
    loss = y.mean()
    loss.backward()
    with pytest.raises(NonFiniteError, match=f"step 1: .* layer l0, time step {first}, gate content"):
        monitor.step(loss)
    about = json.loads((tmp_path / "step" / "about.json").read_text())
    assert (about["what"], about["layer"], about["step"]) == ("activations", "l0", first)


def test_it_names_the_gate_whose_weights_broke(tmp_path):
    model = Model(num_layers=2)
    monitor = Monitor(model, folder=tmp_path)
    with torch.no_grad():
        weight = dict(model.encoder.named_parameters())
        next(w for name, w in weight.items() if name.endswith("weight_hh_l1"))[H + 2] = torch.inf
    with pytest.raises(
        NonFiniteError, match="layer encoder.l1, time step 0, gate forget, row 0, weight .*weight_hh_l1"
    ):
        train(model, 1, monitor)


def test_it_names_the_step_of_a_broken_input(tmp_path):
    model, x = Model(), torch.randn(T, B, INPUTS)
    monitor = Monitor(model, folder=tmp_path)
    x[7, 1] = torch.nan
    loss = model(x).mean()
    with pytest.raises(NonFiniteError, match=r"comes in with the input, layer encoder.l0, time step 7, row 1"):
        monitor.step(loss)


def root_at_zero(model, x):
    """A loss that is finite, and a gradient that is not, at step 5."""
    y = model(x)[0]
    return y.sum() + (y[5] - y[5].detach()).abs().sqrt().sum()


def test_it_names_the_step_of_a_broken_gradient(tmp_path):
    layer, x = nn.LSTM(INPUTS, H), torch.randn(T, B, INPUTS)
    monitor = Monitor(layer, loss=root_at_zero, folder=tmp_path)
    loss = root_at_zero(layer, x)
    loss.backward()
    with pytest.raises(NonFiniteError, match="the gradients hold NaN or infinity, layer l0, time step 5"):
        monitor.step(loss, x)


def test_a_sum_that_overflows_is_no_broken_gradient(tmp_path):
    layer = nn.GRU(INPUTS, H)
    monitor = Monitor(layer, folder=tmp_path)
    for weight in layer.parameters():
        weight.grad = torch.full_like(weight, 3e38)
    monitor.step(1.0)
    layer.weight_hh_l0.grad[0, 0] = -torch.inf
    with pytest.raises(NonFiniteError):
        monitor.step(1.0)


def test_a_loss_that_breaks_by_itself(tmp_path):
    model = Model()
    monitor = Monitor(model, folder=tmp_path)
    with pytest.raises(NonFiniteError, match="the loss is nan, and everything below it is finite"):
        monitor.step((model(torch.randn(T, B, INPUTS)) * 0 - 1).log().mean())


def test_what_it_saved_runs_again_bit_for_bit(tmp_path):
    model, x = Model(variational_dropout=0.5, num_layers=2), torch.randn(T, B, INPUTS)
    torch.manual_seed(7)
    train(model, 2)
    monitor = Monitor(model, folder=tmp_path)
    y = model(x, scale=2.0)
    with pytest.raises(NonFiniteError):
        monitor.step(y.mean() * torch.nan)
    torch.manual_seed(99)
    fresh = Model(variational_dropout=0.5, num_layers=2).eval()
    batch = flow.restore(tmp_path, fresh)
    assert torch.equal(fresh(**batch), y)
    with pytest.raises(FlowError, match="weights.safetensors"):
        flow.restore(tmp_path / "nowhere", fresh)


def test_in_a_loop_that_skips_such_steps_it_warns_of_the_first(tmp_path):
    model = Model()
    monitor = Monitor(model, every=2, budget=1.0, folder=tmp_path, non_finite="warn")
    train(model, 1, monitor)
    with pytest.warns(FlowWarning, match="step 2: the loss is nan"):
        monitor.step(torch.tensor(torch.nan))
    assert (monitor.history[-1]["step"], "the loss is nan" in monitor.history[-1]["warning"]) == (2, True)
    saved = (tmp_path / "about.json").read_text()
    monitor.step(torch.tensor(torch.inf))
    train(model, 1, monitor)
    assert (tmp_path / "about.json").read_text() == saved
    assert [record["step"] for record in monitor.history] == [1, 2, 4]


def test_it_warns_once_when_the_horizon_collapses():
    """A plain network whose matrix is first the identity, then nothing: 11 steps, and none."""
    layer = nn.RNN(INPUTS, H)
    monitor = Monitor(layer, every=1, budget=1.0)

    def step(scale):
        with torch.no_grad():
            layer.weight_hh_l0.copy_(scale * torch.eye(H))
            layer.weight_ih_l0.zero_()
        monitor.step(layer(torch.randn(T, B, INPUTS))[0].sum())

    step(1.0)
    step(0.0)
    assert [record["horizon"] for record in monitor.history] == [T - 1, 0]
    with pytest.warns(FlowWarning, match="horizon was 11 steps and is 0 now"):
        step(0.0)
    step(0.0)
    assert [("warning" in record) for record in monitor.history] == [False, False, True, False]


class Writer:
    def __init__(self):
        self.scalars, self.images = {}, {}

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def add_image(self, name, image, step, dataformats):
        self.images[name, step] = image


def test_what_tensorboard_is_given():
    model, writer = Model(), Writer()
    monitor = Monitor(model, every=2, budget=1.0, writer=writer)
    train(model, 4, monitor)
    assert writer.scalars["flow/horizon", 4] == monitor.history[2]["horizon"]
    image = writer.images["reach/encoder.l0", 4]
    assert len(image) == 3
    assert torch.all(image[:, 0] == 1)
    assert 0 <= float(image.min()) < float(image[0, 1]) < 1


def test_a_folder_for_tensorboard(tmp_path):
    model = Model()
    train(model, 1, Monitor(model, every=1, writer=tmp_path))
    assert any(path.name.startswith("events") for path in tmp_path.iterdir())


def test_a_batch_that_cannot_be_measured_does_not_stop_the_run():
    layer, x = gateflow.Recurrent("lstm", INPUTS, H), torch.randn(1, B, INPUTS)
    monitor = Monitor(layer, every=1)
    monitor.step(layer(x)[0].sum())
    assert "one step" in monitor.history[0]["skipped"]


def test_a_loss_that_is_finite_only_with_dropout_does_not_stop_the_run():
    class Sharp(Model):
        def forward(self, x):
            return super().forward(x) if self.training else super().forward(x) / 0

    model, x = Sharp(), torch.randn(T, B, INPUTS)
    monitor = Monitor(model)
    monitor.step(model(x).sum())
    assert "look for NaN or infinity" in monitor.history[0]["skipped"]


def test_it_lets_go():
    model = Model()
    monitor = Monitor(model)
    model(torch.randn(T, B, INPUTS))
    monitor.close()
    model(torch.randn(T, B, INPUTS))
    assert monitor._inputs is None


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"budget": 0.0}, {"targets": 0}, {"needed_lag": 0}, {"non_finite": "skip"}]
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match="Monitor"):
        Monitor(Model(), **options)


NO_DESCRIPTION = ["", "[]", "{}", "[" * 100_000, '{"training": true, "batch": {"tensor": "none"}}', "7"]


@pytest.mark.parametrize("text", NO_DESCRIPTION)
def test_a_damaged_snapshot_is_told(tmp_path, text):
    model = nn.LSTM(3, 4)
    snapshot.save(tmp_path, model, {"x": torch.ones(2, 1, 3)}, snapshot.random_state(model), {})
    (tmp_path / "about.json").write_text(text)
    with pytest.raises(FlowError, match="is damaged"):
        snapshot.restore(tmp_path, model)

"""Reach, judged by brute force: every row alone, one `autograd.grad` per pair of steps."""

import json

import pytest
import torch
from tests.flow.by_hand import reach_of_row
from tests.oracle import needs_compiler
from torch import nn

import gateflow
from gateflow import cells
from gateflow.flow import reach
from gateflow.flow.capture import replay
from gateflow.layers import cells_in
from gateflow.recurrence import histories

T, LENGTHS = 5, [5, 0, 3]


def weighted(v, **options):
    """A loss on the output in the directions `v [T, B, O]`, the last argument of the model being the lengths."""
    return lambda model, x: (model(x, **options)[0] * v).sum()


def assert_reach(found, model, x, v, lengths):
    """Compares `found` with brute force over the cells of `model`."""
    names = list(found.layers)
    directions = 1 + any(name.endswith("reverse") for name in names)
    every = list(cells_in(model).values())
    stack = [every[k : k + directions] for k in range(0, len(every), directions)]
    for b, length in enumerate(lengths):
        if length == 0:
            assert all(layer.norms[..., b].isnan().all() for layer in found.layers.values())
            continue
        rows = reach_of_row(stack, x[:length, b], v[:length, b], T)
        for name, wanted in zip(names, rows, strict=True):
            layer = found.layers[name]
            for part, norms in [*layer.parts.items(), ("all", layer.norms)]:
                row = wanted[-1 if part == "all" else list(layer.parts).index(part)]
                nothing = norms[..., b].isnan()
                assert not row[nothing].any(), f"{name} {part}: left out what is not zero"
                torch.testing.assert_close(norms[..., b].nan_to_num(), row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_both_directions_two_layers_ragged(name):
    model = gateflow.Recurrent(name, 3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    x, v = torch.randn(T, 3, 3, dtype=torch.float64), torch.randn(T, 3, model.output_size, dtype=torch.float64)
    found = reach(model, x, weighted(v, lengths=LENGTHS), floor=0)
    assert list(found.layers) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert_reach(found, model, x, v, LENGTHS)


@needs_compiler
@pytest.mark.parametrize("name", ["lstm", "full_gru", "projected_lstm"])
def test_states_may_come_from_the_kernel(name, monkeypatch):
    model = gateflow.Recurrent(name, 3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    x, v = torch.randn(T, 3, 3, dtype=torch.float64), torch.randn(T, 3, model.output_size, dtype=torch.float64)
    asked = []
    monkeypatch.setattr(replay, "WORTH_A_KERNEL", 1)
    monkeypatch.setattr(replay, "histories", lambda *args: asked.append(histories(*args)) or asked[-1])
    found = reach(model, x, weighted(v), floor=0)
    assert len(asked) == 4
    assert all(states is not None for states in asked)
    assert_reach(found, model, x, v, [T] * 3)


def test_in_portions_it_is_the_same():
    model, x = gateflow.GRU(3, 4, num_layers=2), torch.randn(20, 2, 3)
    whole = reach(model, x)
    parts = reach(model, x, memory_limit=95_000)
    for one, other in zip(whole.layers.values(), parts.layers.values(), strict=True):
        torch.testing.assert_close(one.norms, other.norms, equal_nan=True)


def test_a_sample_says_how_far_off_it_may_be():
    model, x = gateflow.LSTM(3, 8), torch.randn(80, 2, 3)
    whole, sample = reach(model, x), reach(model, x, targets=16)
    assert (whole.sampling.exact, sample.sampling.exact) == (True, False)
    one, other = whole.layers["l0"], sample.layers["l0"]
    assert len(other.targets) == 16
    torch.testing.assert_close(other.norms, one.norms[list(other.targets)], equal_nan=True)
    assert not one.decay.errors[:40].any()
    off = (one.decay.values[1:20] / other.decay.values[1:20]).log().abs()
    assert (off < 3 * other.decay.errors[1:20]).double().mean() > 0.8
    low, high = other.decay.horizon_between()
    assert low <= one.horizon <= high


def test_thousands_of_steps_are_sampled():
    found = reach(gateflow.GRU(1, 2), torch.randn(1100, 1, 1))
    assert (len(found.sampling.targets), found.sampling.among) == (128, 1100)
    assert "sampled: 128 of 1100 steps" in " ".join(str(found).split())


def test_the_horizon_of_a_known_decay():
    layer = nn.RNN(1, 1, dtype=torch.float64)
    with torch.no_grad():  # h_t = tanh(x_t + 0.5 h_{t-1}) near 0: each step back halves the gradient
        for weight, value in zip(layer.parameters(), (1.0, 0.5, 0.0, 0.0), strict=True):
            weight.fill_(value)
    found = reach(layer, torch.zeros(30, 1, 1, dtype=torch.float64)).layers["l0"]
    torch.testing.assert_close(found.decay.values, 0.5 ** torch.arange(30, dtype=torch.float64))
    assert (found.horizon, found.open) == (6, False)  # 2^-6 > 1 % > 2^-7
    assert found.decay.half_life == pytest.approx(1)
    assert found.left_at(3) == pytest.approx(1 / 8)


def test_below_the_floor_a_target_is_not_followed():
    layer, x = gateflow.RNN(3, 8), torch.randn(40, 2, 3)
    exact, cut = (reach(layer, x, floor=floor).layers["l0"] for floor in (0, 1e-3))
    followed = cut.norms > 0
    torch.testing.assert_close(cut.norms[followed], exact.norms[followed])
    ended = (cut.norms == 0) & exact.norms.isfinite()
    own = exact.norms.diagonal().T[:, None]
    assert ended.any()
    assert (exact.norms / own)[ended].max() < 1e-2
    assert exact.horizon == cut.horizon


def test_prints_and_turns_into_a_dictionary():
    found = reach(gateflow.GRU(3, 4, num_layers=2), torch.randn(20, 2, 3))
    assert f"Gradient horizon: {found.horizon} steps" in str(found)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["layers"][1]["name"] == "l1"
    assert again["layers"][0]["matrix"][0][1] is None


def test_targets_that_die_out_of_turn_leave_nothing_behind():
    class Scaled(gateflow.Cell):  # the Jacobian of step k is diag(x_k)
        states = ("h",)
        inputs = ("content",)

        def step(self, x, h):
            return x * h + self.content(x)

    layer, x, v = gateflow.Recurrent(Scaled, 2, 2), torch.full((20, 1, 2), 0.9), torch.zeros(20, 1, 2)
    x[10, 0, 0] = 0  # the first unit forgets
    v[:, 0, 1], v[9:11], v[11, 0] = 1, 0, torch.tensor([1.0, 0.0])  # the second; none; the first
    exact, cut = (reach(layer, x, weighted(v), floor=floor).layers["l0"].norms for floor in (0, 1e-6))
    assert exact[9, 8].item() == 0 < exact[10, 8].item()  # targets 11 and 12: there are none at 9 and 10
    torch.testing.assert_close(cut, exact, equal_nan=True)

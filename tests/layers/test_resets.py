"""Resets: a sequence with new episodes inside is its episodes run one after the other, on every path."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle import needs_compiler

from gateflow import GRU, LSTM, RNN, Recurrent
from gateflow.errors import ShapeError
from gateflow.recurrence import force_path

I, H = 3, 5
PATHS = [pytest.param("native", marks=needs_compiler), "vendor", "reference"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def by_hand(layer, x, state, lengths, resets, initial):
    """The definition: each row alone, each episode by a call of its own. One direction."""
    outputs, finals = [], []
    for b in range(x.shape[1]):
        now, ys, begin = [tuple(p[b : b + 1] for p in parts) for parts in state], [], 0
        for t in range(lengths[b] + 1):
            if t == lengths[b] or resets[t, b]:
                if t > begin:
                    y, now = layer(x[begin:t, b : b + 1], now)
                    ys.append(y[:, 0])
                if t < lengths[b]:
                    now = [tuple(p[:1] for p in parts) for parts in initial]
                begin = t
        rest = x.new_zeros(x.shape[0] - lengths[b], layer.output_size)
        outputs.append(torch.cat([*ys, rest]))
        finals.append(now)
    final = [tuple(torch.cat(p) for p in zip(*parts, strict=True)) for parts in zip(*finals, strict=True)]
    return torch.stack(outputs, 1), final


def gradients(layer, y, final, inputs):
    torch.manual_seed(3)
    total = sum(
        (part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in [y, *(p for parts in final for p in parts)]
    )
    return torch.autograd.grad(total, [*inputs, *layer.parameters()], allow_unused=True, materialize_grads=True)


def same(ours, wanted):
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("ragged", [False, True])
def test_resets_are_calls_for_each_episode(path, ragged):
    T, B = 7, 4
    layer = Recurrent("lstm", I, H, num_layers=2, learn_initial_state=True, dtype=torch.float64)
    for name, weight in layer.named_parameters():
        if "initial" in name:
            weight.data.normal_()
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    state = [tuple(torch.randn(B, H, dtype=torch.float64, requires_grad=True) for _ in range(2)) for _ in range(2)]
    lengths = [7, 0, 4, 1] if ragged else [T] * B
    resets = torch.rand(T, B) < 0.35
    resets[0, 2], resets[0, 3], resets[5, 2] = True, False, True
    flat = [x, *(p for parts in state for p in parts)]
    with force_path(path):
        y, final = layer(x, state, lengths, resets)
        found = gradients(layer, y, final, flat)
    with force_path("reference"):
        wanted, last = by_hand(layer, x, state, lengths, resets, layer.initial_state(x[:, :1]))
        expected = gradients(layer, wanted, last, flat)
    same(y, wanted)
    same(final, last)
    same(found, expected)


@pytest.mark.parametrize("path", PATHS)
def test_both_directions_end_at_the_borders_of_episodes(path):
    T, B = 6, 3
    layer = Recurrent("gru", I, H, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    state = [(torch.randn(B, H, dtype=torch.float64),) for _ in range(2)]
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2], resets[4, 1] = True, True
    with force_path(path), torch.no_grad():
        y, ((forward,), (backward,)) = layer(x, state, resets=resets)
        zeros = (torch.zeros(B, H, dtype=torch.float64),)
        one, (_, (first,)) = layer(x[:2], [state[0], zeros])
        cut, _ = layer(x[2:4], [zeros, zeros])
        end, (_, _) = layer(x[4:], [zeros, state[1]])
        whole, ((last,), _) = layer(x[2:], [zeros, state[1]])
    same(y[:2], one)
    same(y[2:4, 1], cut[:, 1])
    same(y[4:, 1], end[:, 1])
    same(y[2:, ::2], whole[:, ::2])
    same(backward, first)
    same(forward[::2], last[::2])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_any_resets(T, B, data):
    torch.manual_seed(1)
    layer = Recurrent("full_gru", I, H, dtype=torch.float64)
    x, state = torch.randn(T, B, I, dtype=torch.float64), [(torch.randn(B, H, dtype=torch.float64),)]
    lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    resets = torch.tensor(data.draw(st.lists(st.booleans(), min_size=T * B, max_size=T * B))).view(T, B)
    with torch.no_grad():
        wanted, last = by_hand(layer, x, state, lengths, resets, layer.initial_state(x[:, :1]))
        y, final = layer(x, state, lengths, resets)
    same(y, wanted)
    same(final, last)


def test_steps_take_resets_too():
    T, B = 6, 3
    layer = Recurrent("lstm", I, H, learn_initial_state=True)
    layer.initial_c_l0.data.normal_()
    x, resets = torch.randn(T, B, I), torch.rand(T, B) < 0.4
    with torch.no_grad():
        y, _ = layer(x, resets=resets)
        state, steps = None, []
        for x_t, begins in zip(x, resets, strict=True):
            y_t, state = layer.step(x_t, state, resets=begins)
            steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps), y)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_drop_ins_take_them(kind, batch_first):
    T, B = 5, 3
    layer, x = kind(I, H, 2, batch_first=batch_first), torch.randn(T, B, I)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[3] = True
    turned = (lambda t: t.transpose(0, 1)) if batch_first else (lambda t: t)
    y, _ = layer(turned(x), resets=turned(resets))
    same(turned(y)[:3], turned(layer(turned(x[:3]))[0]))
    same(turned(y)[3:], turned(layer(turned(x[3:]))[0]))
    alone, _ = layer(x[:, 0], resets=resets[:, 0])
    same(alone, turned(y)[:, 0])


def test_nothing_flows_over_a_border():
    layer, x = LSTM(I, H), torch.randn(6, 2, I, requires_grad=True)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[4, 0] = True
    layer(x, resets=resets)[0][5].sum().backward()
    assert (x.grad[:4, 0] == 0).all()
    assert (x.grad[:4, 1] != 0).any()


def test_what_does_not_fit_is_refused():
    layer, x = Recurrent("gru", I, H), torch.randn(5, 2, I)
    for wrong in (torch.zeros(5, 2), torch.zeros(2, 5, dtype=torch.bool), torch.zeros(5, dtype=torch.bool)):
        with pytest.raises(ShapeError, match=r"resets must be truth values \[T, B\] = \[5, 2\]"):
            layer(x, resets=wrong)
    packed = torch.nn.utils.rnn.pack_sequence([x[:, 0], x[:3, 1]])
    with pytest.raises(ShapeError, match="takes no resets"):
        layer(packed, resets=torch.zeros(5, 2, dtype=torch.bool))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_episode_begins_in_an_empty_batch(bidirectional):
    layer = Recurrent("gru", 3, 4, bidirectional=bidirectional)
    y, _ = layer(torch.zeros(7, 0, 3), resets=torch.zeros(7, 0, dtype=torch.bool))
    assert y.shape == layer(torch.zeros(7, 0, 3))[0].shape

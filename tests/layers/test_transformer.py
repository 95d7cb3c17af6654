"""A Transformer sees what it may and nothing else; its cache gives what a whole pass gives."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gateflow.decoding.states import select
from gateflow.errors import ConfigError, ShapeError
from gateflow.layers import Transformer
from gateflow.layers import transformer_layer as module
from gateflow.layers.rotary import rotated

T, B, I, H = 7, 3, 5, 12


def layers(seed=0, **options):
    torch.manual_seed(seed)
    return Transformer(I, H, **{"num_layers": 2, "heads": 3, "dtype": torch.float64, **options}).eval()


def inputs(*shape, seed=1):
    return torch.randn(*(shape or (T, B, I)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_torchs_encoder_but_for_positions(monkeypatch):
    monkeypatch.setattr(module, "rotated", lambda x, first: x)
    ours = Transformer(H, H, num_layers=1, heads=3, causal=False, dtype=torch.float64)
    theirs = nn.TransformerEncoderLayer(H, 3, 4 * H, 0.0, F.gelu, norm_first=True, dtype=torch.float64)
    own = ours.layers[0]
    pairs = {
        "self_attn.in_proj": own.projection,
        "self_attn.out_proj": own.out,
        "linear1": own.widen,
        "linear2": own.narrow,
        "norm1": own.attention_norm,
        "norm2": own.norm,
    }
    weights = {}
    for name, part in pairs.items():
        separator = "_" if name.endswith("in_proj") else "."
        weights |= {f"{name}{separator}weight": part.weight, f"{name}{separator}bias": part.bias}
    theirs.load_state_dict(weights)
    x = inputs(T, B, H)
    assert torch.allclose(ours(x)[0], ours.norm(theirs(x)), atol=1e-12)


def test_rotary_positions_are_their_definition():
    x = inputs(4, 6)
    turned = rotated(x, 10)
    for p in range(4):
        for i in range(3):
            angle = (10 + p) * 10_000 ** (-i / 3)
            a, b = float(x[p, i]), float(x[p, i + 3])
            assert float(turned[p, i]) == pytest.approx(a * math.cos(angle) - b * math.sin(angle), abs=1e-12)
            assert float(turned[p, i + 3]) == pytest.approx(b * math.cos(angle) + a * math.sin(angle), abs=1e-12)


def test_late_positions_are_told_apart_as_well_as_early_ones():
    x = torch.randn(64, 64)
    far = rotated(x, 10**6)[None] @ rotated(x, 10**6).T
    assert torch.allclose(far, rotated(x, 0)[None] @ rotated(x, 0).T, atol=1e-4)


@pytest.mark.parametrize("context", [None, 1, 3, 20])
def test_the_cache_gives_what_a_whole_pass_gives(context):
    model, x = layers(context=context), inputs()
    whole, last = model(x)
    state, steps = None, []
    for step in x:
        output, state = model.step(step, state)
        steps.append(output)
    assert torch.allclose(torch.stack(steps), whole, rtol=0, atol=1e-12)
    first, state = model(x[:3])
    second, end = model(x[3:], state)
    assert torch.allclose(torch.cat([first, second]), whole, rtol=0, atol=1e-12)
    kept = T if context is None else min(T, context)
    assert [keys.shape[1] for keys, _ in end] == [keys.shape[1] for keys, _ in last] == [kept, kept]
    # In one layer more than `context` steps back, in two twice as many.
    moved = x.clone()
    moved[0] += 1
    reached = ((model(moved)[0] - whole).abs().amax((1, 2)) > 1e-9).tolist()
    assert reached == [k <= 2 * (context or T) for k in range(T)]


@pytest.mark.parametrize("causal", [True, False])
def test_what_lies_beyond_a_row_is_never_seen_be_it_nan(causal):
    model, x, lengths = layers(causal=causal), inputs(), torch.tensor([T, 3, 0])
    alone = [model(x[:n, i : i + 1])[0][:, 0] for i, n in enumerate(lengths.tolist()) if n]
    x[3:, 1], x[:, 2] = torch.nan, torch.nan
    x.requires_grad_()
    output, state = model(x, lengths=lengths)
    # Nor can it be carried on, where later steps would see it.
    assert state == []
    for i, found in enumerate(alone):
        assert torch.allclose(output[: len(found), i], found, atol=1e-6)
        assert not output[len(found) :, i].any()
    assert not output[:, 2].any()
    output.square().sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in model.parameters())
    assert bool(x.grad.isfinite().all())
    assert not x.grad[3:, 1].any()


def in_numpy(model, x, memory=None, lengths=None):
    """The equations once more, a row and a step at a time; of the causal layers, or of a decoder."""

    def weight(part):
        return part.weight.detach().numpy(), part.bias.detach().numpy()

    def affine(part, v):
        W, b = weight(part)
        return W @ v + b

    def norm(part, v):
        g, b = weight(part)
        return (v - v.mean()) / np.sqrt(v.var() + 1e-5) * g + b

    def softmax(a):
        return np.exp(a - a.max()) / np.exp(a - a.max()).sum()

    def turned(v, p):
        d = len(v) // 2
        angle = p * 10_000.0 ** (-np.arange(d) / d)
        z = (v[:d] + 1j * v[d:]) * np.exp(1j * angle)
        return np.concatenate([z.real, z.imag])

    def heads(layer, v):
        return v.reshape(layer.heads, -1)

    found, shown = np.empty((*x.shape[:2], H)), np.zeros((*x.shape[:2], 0 if memory is None else len(memory)))
    for b in range(x.shape[1]):
        steps = [affine(model.map, v * model.input_scale) for v in x[:, b].numpy()]
        for layer in model.layers:
            q, k, v = (
                [heads(layer, part) for part in parts]
                for parts in zip(
                    *(np.split(affine(layer.projection, norm(layer.attention_norm, s)), 3) for s in steps), strict=True
                )
            )
            after = []
            for t, s in enumerate(steps):
                seen = range(max(0, t - (model.context or t)), t + 1)
                parts = []
                for h in range(layer.heads):
                    a = softmax(np.array([turned(q[t][h], t) @ turned(k[j][h], j) for j in seen]) / np.sqrt(H / 3))
                    parts.append(sum(p * v[j][h] for p, j in zip(a, seen, strict=True)))
                s = s + affine(layer.out, np.concatenate(parts))
                if memory is not None:
                    pairs = [np.split(affine(layer.memory.pair, m), 2) for m in memory[: lengths[b], b].numpy()]
                    asked, parts, shown[t, b] = (
                        heads(layer, affine(layer.memory.query, norm(layer.memory.norm, s))),
                        [],
                        0,
                    )
                    for h in range(layer.heads):
                        keys = np.array([heads(layer, key)[h] for key, _ in pairs])
                        a = softmax(keys @ asked[h] / np.sqrt(H / 3))
                        shown[t, b, : len(a)] += a / layer.heads
                        parts.append(sum(p * heads(layer, value)[h] for p, (_, value) in zip(a, pairs, strict=True)))
                    s = s + affine(layer.memory.out, np.concatenate(parts))
                wide = affine(layer.widen, norm(layer.norm, s))
                after.append(s + affine(layer.narrow, wide * [(1 + math.erf(w / math.sqrt(2))) / 2 for w in wide]))
            steps = after
        found[:, b] = [norm(model.norm, s) for s in steps]
    return torch.from_numpy(found), torch.from_numpy(shown)


@pytest.mark.parametrize("context", [None, 2])
def test_it_is_its_equations(context):
    model, x = layers(context=context, input_scale=3.0), inputs()
    assert torch.allclose(model(x)[0], in_numpy(model, x)[0], rtol=0, atol=1e-12)


def test_a_decoder_is_its_equations_and_its_cache_gives_the_whole_pass():
    model, x, lengths = layers(memory_size=4), inputs(), [6, 2, 5]
    memory = inputs(6, B, 4, seed=3)
    beyond = memory.clone()
    beyond[2:, 1] = torch.nan
    ready = model.attended(beyond, torch.tensor(lengths))
    whole, weights, _ = model.decode(x, ready)
    wanted = in_numpy(model, x, memory, lengths)
    assert torch.allclose(whole, wanted[0], rtol=0, atol=1e-12)
    assert torch.allclose(weights, wanted[1], rtol=0, atol=1e-12)
    # Another order of the rows on the way, as in a beam search.
    first, _, state = model.decode(x[:3], ready)
    order = torch.tensor([2, 2, 0])
    again = [each.select(order) for each in ready]
    second, shown, _ = model.decode(x[3:, order], again, select(state, order))
    assert torch.allclose(first, whole[:3], rtol=0, atol=1e-12)
    assert torch.allclose(second, whole[3:, order], rtol=0, atol=1e-12)
    assert torch.allclose(shown, weights[3:, order], rtol=0, atol=1e-12)
    assert not layers(memory_size=4).decode(x, model.attended(memory, torch.tensor([6, 0, 5])))[1][:, 1].any()


def test_gradients_of_a_decoder_are_those_of_finite_differences():
    model = Transformer(2, 4, num_layers=1, heads=1, memory_size=3, dtype=torch.float64)
    x, memory = inputs(2, 2, 2).requires_grad_(), inputs(3, 2, 3).requires_grad_()

    def both(x, memory):
        return model.decode(x, model.attended(memory, torch.tensor([3, 1])))[:2]

    assert torch.autograd.gradcheck(both, (x, memory))


def test_a_causal_step_sees_none_after_it():
    model, x = layers(), inputs().requires_grad_()
    model(x)[0][3].sum().backward()
    assert x.grad[:4].abs().amax((1, 2)).min() > 0
    assert not x.grad[4:].any()


def test_gradients_are_those_of_finite_differences():
    model = Transformer(2, 4, num_layers=1, heads=1, dtype=torch.float64)
    lengths = torch.tensor([3, 2])
    x = inputs(3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x, lengths=lengths)[0], x)
    state = model(x[:2])[1]
    state = [tuple(part.detach().requires_grad_() for part in cache) for cache in state]
    assert torch.autograd.gradcheck(lambda x, k, v: model(x, [(k, v)])[0], (x, *state[0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "take a multiple of 10"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"context": 0}, "context is how far causal layers look back"),
        ({"context": 3, "causal": False}, "causal=False"),
        ({"memory_size": 0}, "memory_size must be at least 1"),
    ],
)
def test_sizes_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        layers(**options)


def test_calls_that_cannot_work():
    model, x = layers(), inputs()
    state = model(x)[1]
    with pytest.raises(ConfigError, match="sees what comes after"):
        layers(causal=False).step(x[0])
    for call, message in (
        (lambda: model(x[0]), r"input must be \[T, B, 5\]"),
        (lambda: model(x, lengths=torch.tensor([1, 2])), "lengths must be 3 integers"),
        (lambda: model(x, lengths=torch.tensor([1, 2, 8])), "lengths must lie between 0 and T = 7"),
        (lambda: model(x, state, lengths=torch.tensor([1, 2, 3])), "give one of the two"),
        (lambda: model.step(x[0], model(x, lengths=[1, 2, 3])[1]), "state is empty, as a call with lengths gives it"),
        (lambda: model(x, state[:1]), "state must hold keys and values"),
        (lambda: model(x[:, :2], state), "state must hold keys and values"),
        (lambda: layers(causal=False)(x, state), "leave state out"),
        (lambda: model(x, [state[0], tuple(part[:, 1:] for part in state[1])]), "as many steps in each layer"),
        (lambda: model.attended(x), "memory must be"),
        (lambda: layers(memory_size=4).attended(x), "with M = 4"),
        (lambda: layers(memory_size=4)(x), "call `attended` and then `decode`"),
        (lambda: layers(memory_size=5).decode(x, layers(memory_size=5).attended(x[:, :1])), "memory must be that of 3"),
    ):
        with pytest.raises(ShapeError, match=message):
            call()

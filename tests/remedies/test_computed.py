"""Remedies on weights that are computed from others: in force after it, or refused with nothing changed."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import gateflow
from gateflow.errors import ConfigError
from gateflow.layers import cells_in
from gateflow.remedies import clip, init, penalties

I, H = 3, 4


class Halved(nn.Module):
    """Can be inverted, as its `right_inverse` says."""

    def forward(self, x):
        return x / 2

    def right_inverse(self, value):
        return value * 2


class Squashed(nn.Module):
    """Cannot: there is no way to a weight of 1 and more, and nobody says how to the others."""

    def forward(self, x):
        return x.tanh()


class Misled(nn.Module):
    """Says that it can, and does not."""

    def forward(self, x):
        return x.abs()

    def right_inverse(self, value):
        return value


def pruned(amount):
    return lambda module, name: prune.l1_unstructured(module, name, amount)


FAITHFUL = {
    "pruned by nothing": pruned(0.0),
    "weight norm": parametrizations.weight_norm,
    "halved": lambda module, name: parametrize.register_parametrization(module, name, Halved()),
}
UNFAITHFUL = {
    "pruned": pruned(0.5),
    "squashed": lambda module, name: parametrize.register_parametrization(module, name, Squashed()),
    "misled": lambda module, name: parametrize.register_parametrization(module, name, Misled()),
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "spectral norm by a hook": nn.utils.spectral_norm,
}
LAYERS = {
    "ours": (lambda: gateflow.RNN(I, H), "_l0"),
    "theirs": (lambda: nn.RNN(I, H), "_l0"),
    "lstm": (lambda: gateflow.LSTM(I, H), "_l0"),
    "recurrent": (lambda: gateflow.Recurrent("elman", I, H), "_l0"),
}


def reset(layer):
    layer.reset_parameters()


def effective(layer, suffix):
    """The weights as the layer uses them in a call."""
    layer(torch.zeros(2, 1, I))
    names = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if hasattr(layer, n + suffix)]
    return {n: getattr(layer, n + suffix).detach().clone() for n in names}


REMEDIES = {
    "orthogonal": (init.orthogonal, "weight_hh"),
    "identity": (init.identity, "weight_hh"),
    "identity, inputs": (init.identity, "weight_ih"),
    "forget_bias": (lambda model: init.forget_bias(model, 2.0), "bias_ih"),
    "chrono": (lambda model: init.chrono(model, 50), "bias_ih"),
}


def applies(remedy, kind):
    return (kind == "lstm") == (remedy in ("forget_bias", "chrono")) or remedy == "orthogonal"


CASES = [(r, k) for r in REMEDIES for k in LAYERS if applies(r, k)]


@pytest.mark.parametrize("computed", FAITHFUL)
@pytest.mark.parametrize(("remedy", "kind"), CASES)
def test_a_weight_that_can_be_set_is_what_it_would_have_been(remedy, kind, computed):
    (change, weight), (make, suffix) = REMEDIES[remedy], LAYERS[kind]
    if computed == "weight norm" and weight.startswith("bias"):
        pytest.skip("torch has no weight norm of vectors")
    plain = make()
    layer = copy.deepcopy(plain)
    FAITHFUL[computed](layer, weight + suffix)
    for model in (plain, layer):
        torch.manual_seed(0)
        change(model)
    wanted, found = effective(plain, suffix), effective(layer, suffix)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("kind", ["ours", "theirs", "recurrent"])
def test_the_old_weight_norm_too(kind):
    make, suffix = LAYERS[kind]
    layer = make()
    nn.utils.weight_norm(layer, "weight_hh" + suffix)
    init.orthogonal(layer)
    W = effective(layer, suffix)["weight_hh"]
    torch.testing.assert_close(W @ W.T, torch.eye(H), rtol=1e-5, atol=1e-5)


GIVEN = {("orthogonal", "orthogonal"), ("orthogonal", "identity"), ("misled", "identity")}


@pytest.mark.parametrize("computed", UNFAITHFUL)
@pytest.mark.parametrize(("remedy", "kind"), [c for c in CASES if REMEDIES[c[0]][1].startswith("weight")])
def test_one_that_cannot_is_refused_and_nothing_is_changed(remedy, kind, computed):
    (change, weight), (make, suffix) = REMEDIES[remedy], LAYERS[kind]
    if (computed, remedy) in GIVEN and kind != "lstm":
        pytest.skip("that one it can give")
    layer = make().eval()  # spectral norm counts on in training
    UNFAITHFUL[computed](layer, weight + suffix)
    before = effective(layer, suffix)
    with pytest.raises(ConfigError, match=f"{weight}{suffix} of .* is computed from.*nothing was changed"):
        change(layer)
    after = effective(layer, suffix)
    assert all(torch.allclose(after[name], value, rtol=1e-6, atol=1e-6) for name, value in before.items())


def test_a_computed_weight_that_the_remedy_leaves_alone_is_no_obstacle():
    layer = gateflow.LSTM(I, H)
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    before = effective(layer, "_l0")
    init.forget_bias(layer, 2.0)
    after = effective(layer, "_l0")
    assert torch.equal(after["weight_hh"], before["weight_hh"])
    assert torch.equal(after["bias_ih"][H : 2 * H] + after["bias_hh"][H : 2 * H], torch.full((H,), 2.0))


def test_all_layers_or_none():
    model = nn.ModuleList([gateflow.RNN(I, H), gateflow.RNN(H, H)])
    prune.l1_unstructured(model[1], "weight_hh_l0", 0.5)
    before = model[0].weight_hh_l0.clone()
    with pytest.raises(ConfigError):
        init.orthogonal(model)
    assert torch.equal(model[0].weight_hh_l0, before)


def test_weights_drawn_anew_are_in_force():
    layer = gateflow.Recurrent("lstm", I, H)
    parametrizations.weight_norm(layer, "weight_hh_l0")
    init.orthogonal(layer)
    before = effective(layer, "_l0")
    layer.reset_parameters()
    after = effective(layer, "_l0")
    assert all(not torch.equal(after[name], before[name]) for name in before)
    assert all(bool((value.abs() <= H**-0.5 + 1e-6).all()) for value in after.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["ours", "theirs", "recurrent"])
def test_sixteen_bit_weights(kind, dtype):
    make, suffix = LAYERS[kind]
    layer = make().to(dtype)
    init.orthogonal(layer)
    W = getattr(layer, "weight_hh" + suffix).float()
    torch.testing.assert_close(W @ W.T, torch.eye(H), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("how", [pruned(0.5), parametrizations.weight_norm])
def test_clipping_and_penalties_reach_what_the_weight_is_computed_from(how):
    layer = gateflow.RNN(I, H)
    how(layer, "weight_hh_l0")
    x = torch.randn(5, 2, I)
    layer(x)[0].sum().backward()
    norms = [p.grad.norm() for p in layer.parameters()]
    assert clip.gradient_norm(layer) == pytest.approx(float(torch.stack(norms).norm()), rel=1e-5)
    assert clip.NormClipper(layer, threshold=1e-3).step()
    assert clip.gradient_norm(layer) == pytest.approx(1e-3, rel=1e-5)
    layer.zero_grad()
    layer(x)
    (cell,) = cells_in(layer).values()
    states, errors = (torch.randn(5, 2, H),), (torch.randn(5, 2, H),)
    penalties.omega(cell, x, states, errors).backward()
    originals = [p for n, p in layer.named_parameters() if "weight_hh" in n]
    assert originals
    assert all(bool(p.grad.abs().sum() > 0) for p in originals)


def test_no_weight_of_a_layer_on_the_meta_device_is_looked_at():
    layer = gateflow.LSTM(I, H, device="meta")
    init.forget_bias(layer)
    layer.reset_parameters()
    assert layer.weight_hh_l0.is_meta

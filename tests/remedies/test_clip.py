"""Algorithm 1, exactly; its statistics; and gradients that are not finite."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gateflow.errors import ConfigError, NonFiniteError
from gateflow.remedies.clip import NormClipper, gradient_norm


def model_with(*gradients):
    model = nn.ParameterList([nn.Parameter(torch.zeros(len(g), dtype=torch.float64)) for g in gradients])
    for parameter, g in zip(model, gradients, strict=True):
        parameter.grad = torch.tensor(g, dtype=torch.float64)
    return model


numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=4)


@given(a=numbers, b=numbers, threshold=st.floats(1e-3, 1e3))
def test_algorithm_1(a, b, threshold):
    model = model_with(a, b)
    g = torch.tensor(a + b, dtype=torch.float64)
    norm = g.norm()
    wanted = threshold / norm * g if norm >= threshold else g
    assert NormClipper(model, threshold).step()
    torch.testing.assert_close(torch.cat([p.grad for p in model]), wanted, rtol=1e-12, atol=0)


def test_a_norm_equal_to_the_threshold_is_clipped_and_one_below_is_untouched():
    model = model_with([3.0, 4.0])
    clipper = NormClipper(model, 5.0)
    clipper.step()
    assert (clipper.clipped, model[0].grad.tolist()) == (1, [3.0, 4.0])
    model = model_with([3.0, 4.0])
    clipper = NormClipper(model, 5.000001)
    clipper.step()
    assert (clipper.clipped, model[0].grad.tolist()) == (0, [3.0, 4.0])


def test_a_norm_that_overflows_float32_is_still_a_norm():
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[3e30, 4e30]])
    assert NormClipper(layer, 1.0).step()
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[0.6, 0.8]]))


def test_statistics():
    model, clipper = model_with([0.0]), None
    clipper = NormClipper(model, 2.0)
    assert math.isnan(clipper.statistics()["clipped_share"])
    for norm in (1.0, 4.0, 8.0, 1.5):
        model[0].grad.fill_(norm)
        clipper.step()
    found = clipper.statistics()
    assert found == {
        "steps": 4, "clipped_share": 0.5, "skipped": 0, "mean_shrink": (2 / 4 + 2 / 8) / 2,
        "norm_p50": 1.5, "norm_p90": 8.0, "norm_p99": 8.0, "threshold": 2.0,
    }  # fmt: skip


def test_measuring_only():
    model = model_with([30.0, 40.0])
    clipper = NormClipper(model, None)
    assert clipper.step()
    assert model[0].grad.tolist() == [30.0, 40.0]
    assert clipper.statistics()["norm_p50"] == 50.0
    assert gradient_norm(nn.Linear(1, 1)) == 0.0


def test_autoclip_takes_the_percentile_of_the_norms_so_far():
    model = model_with([0.0])
    clipper = NormClipper(model, "auto", percentile=50, history=3)
    limits = []
    for norm in (4.0, 2.0, 8.0, 16.0):
        model[0].grad.fill_(norm)
        clipper.step()
        limits.append(clipper.limit())
    assert limits == [4.0, 2.0, 4.0, 8.0]  # medians of (4), (2 4), (2 4 8), (2 8 16): nearest rank
    assert model[0].grad.item() == 8.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_non_finite_gradient_is_skipped_counted_and_named(bad):
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model[1].weight.grad.fill_(bad)
    clipper = NormClipper(model, 1.0, patience=3)
    assert [clipper.step(), clipper.step()] == [False, False]
    with pytest.raises(NonFiniteError, match=r"3 times in a row \(step 3\); it is non-finite in 1.weight. The weights"):
        clipper.step()
    assert clipper.statistics()["skipped"] == 3
    assert model[0].weight.grad.item() == 1.0


def test_patience_counts_in_a_row():
    model = model_with([1.0])
    clipper = NormClipper(model, 1.0, patience=2)
    for value in (math.nan, 1.0, math.nan, 1.0):
        model[0].grad.fill_(value)
        clipper.step()
    assert clipper.skipped == 2
    model[0].grad.fill_(math.nan)
    with pytest.raises(NonFiniteError):
        NormClipper(model, 1.0, non_finite="raise").step()


def test_state_survives_json():
    model = model_with([3.0, 4.0])
    clipper = NormClipper(model, 1.0)
    clipper.step()
    twin = NormClipper(model, 1.0)
    twin.load_state_dict(json.loads(json.dumps(clipper.state_dict())))
    assert twin.statistics() == clipper.statistics()


@pytest.mark.parametrize(
    "options", [{"threshold": 0}, {"threshold": -1.0}, {"threshold": "best"}, {"percentile": 0}, {"non_finite": "hope"}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError):
        NormClipper(nn.Linear(1, 1), **options)

"""Each candidate differs from the plain one in what its name says, and in nothing else."""

import math

import pytest
import torch
from torch import nn

from gateflow.recurrence import force_path
from gateflow.studies.candidates import INITIAL_CANDIDATES, REMEDIES
from gateflow.studies.memory import TemporalOrder
from gateflow.studies.memory_training import train_memory


@pytest.fixture(autouse=True)
def _reference():
    with force_path("reference"):
        yield


TASK, H = TemporalOrder(50), 12
REMEDY, WEIGHTS = ({c.name: c for c in catalogue} for catalogue in (REMEDIES, INITIAL_CANDIDATES))
EVERY = [*REMEDIES, *INITIAL_CANDIDATES]


def untrained(candidate):
    model = train_memory(TASK, candidate.cell, hidden_size=H, updates=0, **candidate.options(TASK)).model
    return {
        name.removeprefix("layer.").removesuffix("_l0"): weight.detach() for name, weight in model.named_parameters()
    }


def changed(candidate, other):
    """The names of the weights that the candidate begins with, and the other does not."""
    mine, plain = untrained(candidate), untrained(other)
    return {name for name in plain if not torch.equal(mine[name], plain[name])}


def torch_layer(kind):
    torch.manual_seed(0)
    return kind(TASK.input_size, H)


@pytest.mark.parametrize(
    ("candidate", "kind"),
    [
        (REMEDY["plain RNN"], nn.RNN),
        (REMEDY["GRU"], nn.GRU),
        (REMEDY["LSTM"], nn.LSTM),
        (WEIGHTS["RNN, default"], nn.RNN),
        (WEIGHTS["LSTM, default"], nn.LSTM),
    ],
)
def test_without_a_remedy_the_weights_are_torchs(candidate, kind):
    weights = untrained(candidate)
    for name, weight in torch_layer(kind).named_parameters():
        assert torch.equal(weights[name.removesuffix("_l0")], weight)


@pytest.mark.parametrize("candidate", [REMEDY["orthogonal W"], WEIGHTS["RNN, orthogonal"]])
def test_orthogonal(candidate):
    W = untrained(candidate)["weight_hh"]
    torch.testing.assert_close(W @ W.T, torch.eye(H), atol=1e-5, rtol=0)
    assert candidate.cell == "elman"
    assert changed(candidate, REMEDY["plain RNN"]) == {"weight_hh"}


@pytest.mark.parametrize(
    ("candidate", "cell"),
    [
        (REMEDY["identity W"], "elman"),
        (REMEDY["identity W + ReLU (IRNN)"], "elman_relu"),
        (WEIGHTS["IRNN"], "elman_relu"),
    ],
)
def test_identity(candidate, cell):
    weights = untrained(candidate)
    assert candidate.cell == cell
    assert torch.equal(weights["weight_hh"], torch.eye(H))
    assert not weights["bias_ih"].any()
    assert not weights["bias_hh"].any()
    assert changed(candidate, REMEDY["plain RNN"]) == {"weight_hh", "weight_ih", "bias_ih", "bias_hh"}


@pytest.mark.parametrize("candidate", [REMEDY["LSTM, chrono"], WEIGHTS["LSTM, chrono"]])
def test_chrono_covers_the_length_of_the_task(candidate):
    bias = sum(untrained(candidate)[name] for name in ("bias_ih", "bias_hh")).view(4, H)
    assert torch.equal(bias[0], -bias[1])
    assert 0 <= bias[1].min() < bias[1].max() <= math.log(TASK.steps - 1)
    assert bias[1].max() > math.log(TASK.steps / 2)
    assert changed(candidate, REMEDY["LSTM"]) == {"bias_ih", "bias_hh"}


@pytest.mark.parametrize("value", [0, 1, 2, 4])
def test_forget_bias(value):
    candidate = WEIGHTS[f"LSTM, forget bias {value}"]
    bias = sum(untrained(candidate)[name] for name in ("bias_ih", "bias_hh")).view(4, H)
    assert (bias[1] == value).all()
    assert changed(candidate, REMEDY["LSTM"]) == {"bias_ih", "bias_hh"}


def test_relu_and_clipping_and_omega_begin_as_the_plain_one():
    for name in ("ReLU", "clipping", "Ω"):
        assert not changed(REMEDY[name], REMEDY["plain RNN"])
    assert {c.name for c in REMEDIES if c.cell == "elman_relu"} == {"ReLU", "identity W + ReLU (IRNN)"}


def test_remedies_clip_only_where_clipping_is_the_remedy_and_ways_to_begin_always():
    rate = {}
    for candidate in EVERY:
        outcome = train_memory(TemporalOrder(10), candidate.cell, hidden_size=3, updates=1, **candidate.options(TASK))
        norm = math.sqrt(sum(float(w.grad.square().sum()) for w in outcome.model.parameters()))
        rate[candidate] = outcome.clip_rate, norm
    assert {c.name for c in REMEDIES if c.clip == 1} == {"clipping"}
    assert all(c.clip == 1 for c in INITIAL_CANDIDATES)
    assert all(clipped == 0 for c, (clipped, _) in rate.items() if c.clip == math.inf)
    assert all(norm <= 1.0001 for c, (_, norm) in rate.items() if c.clip == 1)
    assert rate[REMEDY["Ω"]][1] > rate[REMEDY["plain RNN"]][1]


def test_omega_keeps_the_gradient_alive():
    """Forty updates bring the ratio of the error's norm from step to step nearer to 1."""
    candidate = REMEDY["Ω"]
    inputs, targets = TASK.batch(4, torch.Generator().manual_seed(0))
    options = {"hidden_size": H, "learning_rate": 5e-3, "batch_size": 4}
    models = [
        train_memory(TASK, candidate.cell, updates=n, **options, **candidate.options(TASK)).model for n in (0, 40)
    ]
    before, after = (candidate.penalty(model, inputs, targets, TASK).item() for model in models)
    assert after < 0.5 * before
    assert [c.name for c in EVERY if c.omega] == ["Ω"]

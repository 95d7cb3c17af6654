"""The loss against torch's plain one: values, gradients, memory; and the sampled one against the full."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gateflow.tasks.language_model.cross_entropy import cross_entropy, inclusion, sampled_cross_entropy


def problem(rows: int, size: int, words: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    hidden, weight = torch.randn(rows, size, dtype=dtype), torch.randn(words, size, dtype=dtype)
    bias, targets = torch.randn(words, dtype=dtype), torch.randint(words, (rows,))
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_(), targets


def plain(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), targets)


@pytest.fixture(params=["of torch", "by checkpoints"])
def either(request, monkeypatch):
    """The loss of torch 2.13, and what takes its place before."""
    if request.param == "by checkpoints":
        monkeypatch.delattr(F, "linear_cross_entropy", raising=False)
    elif not hasattr(F, "linear_cross_entropy"):
        pytest.skip(f"torch {torch.__version__} has none")


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(3 * loss, inputs)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("at_once", [1, 7, 33, 50, 1 << 22])
@pytest.mark.parametrize("ignored", [0, 4])
def test_equals_the_plain_loss_however_it_is_cut(monkeypatch, at_once, ignored):
    monkeypatch.setattr("gateflow.tasks.language_model.cross_entropy._SCORES_AT_ONCE", at_once)
    *inputs, targets = problem(rows=11, size=5, words=7)
    targets[:ignored] = -100
    ours, theirs = cross_entropy(*inputs, targets), plain(*inputs, targets)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    for mine, judge in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(mine, judge, rtol=1e-11, atol=1e-14)


@pytest.mark.usefixtures("either")
def test_gradcheck(monkeypatch):
    monkeypatch.setattr("gateflow.tasks.language_model.cross_entropy._SCORES_AT_ONCE", 15)
    *inputs, targets = problem(rows=7, size=3, words=5)
    assert torch.autograd.gradcheck(lambda *given: cross_entropy(*given, targets), inputs)


@pytest.mark.usefixtures("either")
def test_scores_that_overflow_a_naive_softmax():
    *inputs, targets = problem(rows=6, size=3, words=5, dtype=torch.float32)
    loss = cross_entropy(inputs[0] * 1000, *inputs[1:], targets)
    assert torch.isfinite(loss)
    torch.testing.assert_close(loss, plain(inputs[0] * 1000, *inputs[1:], targets))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_under_autocast_the_loss_keeps_the_digits_of_fp32(dtype):
    *inputs, targets = problem(rows=9, size=4, words=50, dtype=torch.float32)
    judge = plain(inputs[0].to(dtype).float(), *inputs[1:], targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(inputs[0].to(dtype), *inputs[1:], targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, judge, rtol=1e-5, atol=0)


class Largest(TorchDispatchMode):
    """Watches every tensor that is made, and keeps the size of the largest."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = [part for part in torch.utils._pytree.tree_leaves(result) if isinstance(part, Tensor)]
        self.numel = max([self.numel, *(part.numel() for part in made)])
        return result


@pytest.mark.usefixtures("either")
def test_no_tensor_is_as_large_as_all_scores(monkeypatch):
    monkeypatch.setattr("gateflow.tasks.language_model.cross_entropy._SCORES_AT_ONCE", 4000)
    *inputs, targets = problem(rows=900, size=4, words=1000, dtype=torch.float32)
    with Largest() as ours:
        gradients(cross_entropy(*inputs, targets), *inputs)
    with Largest() as theirs:
        gradients(plain(*inputs, targets), *inputs)
    assert theirs.numel == 900 * 1000
    assert ours.numel <= 4000


@given(
    counts=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30),
    power=st.sampled_from([0.0, 0.75, 1.0]),
    data=st.data(),
)
def test_inclusion_fills_the_sample_and_prefers_the_frequent(counts, power, data):
    frequencies = torch.tensor(counts, dtype=torch.float64)
    candidates = data.draw(st.integers(1, len(counts)))
    chances = inclusion(frequencies, candidates, power)
    assert 0 < chances.min() <= chances.max() <= 1
    assert chances.sum().item() == pytest.approx(candidates)
    in_order = chances[frequencies.argsort()]
    assert (in_order[1:] >= in_order[:-1] - 1e-12).all()
    free = chances < 1
    assert (chances[free] / frequencies[free] ** power).numpy() == pytest.approx(
        (chances[free] / frequencies[free] ** power).numpy().mean() if free.any() else 0
    )


def test_all_words_as_candidates_give_the_full_loss_and_its_gradients():
    *inputs, targets = problem(rows=11, size=5, words=7)
    everything = torch.ones(7, dtype=torch.float64)
    sampled = sampled_cross_entropy(*inputs, targets, everything / 7, everything)
    full = plain(*inputs, targets)
    torch.testing.assert_close(sampled, full)
    for mine, judge in zip(gradients(sampled, *inputs), gradients(full, *inputs), strict=True):
        torch.testing.assert_close(mine, judge)


def test_words_that_were_not_drawn_get_no_gradient():
    *inputs, targets = problem(rows=4, size=5, words=600)
    frequencies = torch.full((600,), 1 / 600, dtype=torch.float64)
    _, weight, bias = gradients(
        sampled_cross_entropy(*inputs, targets, frequencies, inclusion(frequencies, 30)), *inputs
    )
    touched = weight.abs().sum(1) > 0
    assert 15 < touched.sum() < 60
    assert touched[targets].all()
    assert torch.equal(touched, bias != 0)


def test_a_model_trained_on_samples_learns_the_probabilities_of_the_full_softmax():
    """With targets from a known distribution the bias must become its logarithm, for frequent and rare words alike."""
    words, rows = 40, 50
    truth = torch.arange(1, words + 1).double().pow(-1.0)
    truth = truth / truth.sum()
    hidden, weight = torch.zeros(rows, 1, dtype=torch.float64), torch.zeros(words, 1, dtype=torch.float64)
    bias = torch.zeros(words, dtype=torch.float64, requires_grad=True)
    chances = inclusion(truth, 10)
    optimizer = torch.optim.Adam([bias], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=1500)
    for _ in range(1500):
        targets = torch.multinomial(truth, rows, replacement=True)
        optimizer.zero_grad()
        sampled_cross_entropy(hidden, weight, bias, targets, truth, chances).backward()
        optimizer.step()
        schedule.step()
    found = bias.detach().log_softmax(0)
    assert (found - truth.log()).abs().max() < 0.35
    assert (truth * (truth.log() - found)).sum() < 0.005


def test_the_estimate_is_near_the_full_loss():
    *inputs, _ = problem(rows=64, size=5, words=2000)
    frequencies = inputs[2].detach().softmax(0)
    targets = torch.multinomial(frequencies, 64, replacement=True)
    chances = inclusion(frequencies, 500)
    estimates = torch.stack([sampled_cross_entropy(*inputs, targets, frequencies, chances) for _ in range(30)])
    assert estimates.mean().item() == pytest.approx(plain(*inputs, targets).item(), rel=0.02)

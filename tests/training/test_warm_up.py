"""Kernels are built before a clock starts, by steps that leave nothing behind: every loop's losses stay to the bit."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn

from gateflow import Recurrent
from gateflow.flow import Monitor
from gateflow.recurrence import force_path
from gateflow.runs.weights import read_tensors
from gateflow.studies import agreement_training, budget, memory_training
from gateflow.studies.memory import Adding
from gateflow.studies.memory_comparison import MemoryComparison
from gateflow.studies.memory_training import train_memory
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.task import LanguageModelTask
from gateflow.training import loop, warm_up
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.metrics import MetricsLog

BUILD = 1000.0


@pytest.fixture(autouse=True)
def _reference():
    with force_path("reference"):
        yield


class Clock:
    """Each forward pass of a layer takes a second and each backward pass two; the first of either is a build too."""

    def __init__(self, monkeypatch):
        self.now, self.built = 0.0, set()
        layer_forward, tensor_backward = Recurrent.forward, torch.Tensor.backward

        def forward(layer, *args, **kwargs):
            self.pass_("training" if torch.is_grad_enabled() else "inference", 1.0)
            return layer_forward(layer, *args, **kwargs)

        def backward(loss, *args, **kwargs):
            self.pass_("backward", 2.0)
            return tensor_backward(loss, *args, **kwargs)

        monkeypatch.setattr(Recurrent, "forward", forward)
        monkeypatch.setattr(torch.Tensor, "backward", backward)

    def pass_(self, kernel, seconds):
        self.now += seconds + BUILD * (kernel not in self.built)
        self.built.add(kernel)

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock(monkeypatch)
    for module in (loop, memory_training):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(perf_counter=clock, monotonic=clock))
    monkeypatch.setattr(agreement_training, "perf_counter", clock)
    return clock


def language_model(folder, **training):
    (folder / "text.txt").write_text("the cat sat on the mat\nthe dogs sit on the mats\n" * 20)
    model = {"hidden_size": 8, "embedding_size": 8, "dropout": 0.3, "weight_dropout": 0.2}
    options = {"batch_size": 2, "window": 5, "log_every": 1, "epochs": 1, **training}
    config = LanguageModelConfig.build({"data": {"train": folder / "text.txt"}, "model": model, "training": options})
    run = set_up(folder / "run", config)
    task = LanguageModelTask(run, config)
    monitor = Monitor(task.model, every=5, budget=1.0, folder=folder / "broken")
    outcome = TrainingLoop(task, config.training, run, join_processes(config.training), monitor=monitor).train()
    records = MetricsLog(run.metrics_file).read()
    return outcome, records, read_tensors(run.checkpoint_file)[0]


def test_the_loop_counts_no_build(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(Monitor, "_measure", lambda monitor, *_: monitor.history.append({"step": 0}))
    began = clock.now
    outcome, records, _ = language_model(tmp_path, max_updates=6)
    assert clock.now > 2 * BUILD
    # Of all that passed the build is a part, and so are validations.
    assert (outcome.seconds, outcome.elapsed) == (6 * 3.0, clock.now - began)
    assert {r["tokens_per_second"] for r in records if r["kind"] == "train"} == {round(10 / 3)}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loop_learns_the_same_to_the_bit(accumulate, tmp_path, monkeypatch):
    found = []
    for name in ("warm", "cold"):
        (tmp_path / name).mkdir()
        _, records, checkpoint = language_model(tmp_path / name, accumulate=accumulate)
        assert any(record["kind"] == "flow" for record in records)
        times = ("seconds", "tokens_per_second", "share")
        found.append(([{k: r[k] for k in r if k not in times} for r in records], checkpoint))
        monkeypatch.setattr(TrainingLoop, "warm_up", lambda self: None)
    (records, checkpoint), (others, other) = found
    assert records == others
    assert checkpoint.keys() == other.keys()
    assert any(name.startswith("random") for name in checkpoint)
    assert all(torch.equal(checkpoint[name], other[name]) for name in checkpoint)


def test_a_task_of_memory_counts_no_build(clock):
    outcome = train_memory(Adding(5), "gru", updates=7, hidden_size=4, check_every=3, check_size=4)
    assert clock.now > 3 * BUILD
    assert (outcome.seconds, outcome.check_seconds) == (7 * 3.0, 2 * 1.0)


def test_what_an_update_takes_has_its_share_of_a_check(clock):
    comparison = MemoryComparison(Adding(5), budget.Budget(minutes=1), hidden_size=4)
    assert comparison.seconds_of_one_update("gru") == 3.0 + 1.0 / 100
    (result,) = comparison.results(["gru"])
    assert result.updates == round(60 / 3.01)
    assert result.microseconds_per_step == pytest.approx(1e6 * 3.0 / (5 * 50))


def test_few_fast_updates_are_followed_by_more():
    asked = []

    def seconds_of_one(updates):
        asked.append(updates)
        return 0.02

    assert budget.steady(seconds_of_one) == 0.02
    assert asked == [5, 25]
    assert budget.steady(lambda updates: 0.0 if updates <= 320 else 1.0) == 0.0
    assert budget.steady(lambda updates: 0.2 if updates == 5 else 9.0) == 0.2


def with_noise(**more):
    """A layer and a penalty that draw from torch's generator."""
    torch.manual_seed(3)
    layer = Recurrent("gru", 2, 4, zoneout=0.2, variational_dropout=0.1)

    def penalty(model, inputs, targets):
        return 0.01 * torch.rand(()) * sum(w.square().sum() for w in model.parameters())

    outcome = train_memory(Adding(5), layer, updates=6, check_every=3, check_size=10, penalty=penalty)
    return outcome.losses, outcome.checks, torch.get_rng_state()


def test_a_task_of_memory_learns_the_same_to_the_bit(monkeypatch):
    losses, checks, state = with_noise()
    monkeypatch.setattr(memory_training, "_warm_up", lambda *_: None)
    others, other_checks, other_state = with_noise()
    assert (losses, checks) == (others, other_checks)
    assert torch.equal(state, other_state)


def test_the_study_counts_no_build_and_learns_the_same(clock, monkeypatch):
    entry = agreement_training.Entry(
        "gru", "all", 0, agreement_training.AgreementBudget(updates=4, hidden_size=4, batch_size=2)
    )
    found = agreement_training.train_one(entry)
    assert clock.now > 2 * BUILD
    assert found.seconds == 4 * 3.0
    monkeypatch.setattr(agreement_training, "warm_up", lambda *_: None)
    assert vars(agreement_training.train_one(entry)) | {"seconds": 0} == vars(found) | {"seconds": 0}


def test_thrown_away_leaves_no_trace():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    model(torch.randn(5, 3)).sum().backward()
    model[2].eval()
    before = [w.clone() for w in model.state_dict().values()], [w.grad.clone() for w in model.parameters()]
    state, modes = torch.get_rng_state(), [module.training for module in model.modules()]
    with warm_up.thrown_away(model):
        assert all(weight.grad is None for weight in model.parameters())
        model.train()(torch.randn(5, 3)).sum().backward()
    after = list(model.state_dict().values()), [w.grad for w in model.parameters()]
    assert all(torch.equal(a, b) for one, two in zip(before, after, strict=True) for a, b in zip(one, two, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]


def test_it_leaves_no_trace_of_a_step_that_fails_either():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    state = torch.get_rng_state()

    def fails():
        with warm_up.thrown_away(model):
            model(torch.randn(5, 3)).sum().backward()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert torch.equal(state, torch.get_rng_state())
    assert model[0].weight.grad is None

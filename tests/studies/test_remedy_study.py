"""The report before training against brute force, and what becomes of trainings that are solved, are not, or break."""

import math

import pytest
import torch

from gateflow import Recurrent
from gateflow.cells import Elman
from gateflow.errors import ConfigError
from gateflow.recurrence import force_path
from gateflow.studies.budget import Budget
from gateflow.studies.candidates import Candidate
from gateflow.studies.memory import Adding, Copy, TemporalOrder
from gateflow.studies.memory_comparison import MemoryComparison
from gateflow.studies.memory_training import Reader
from gateflow.studies.remedy_study import InitReport, Training, init_report, probed_lag, study
from gateflow.studies.remedy_summary import foretold, rank_correlation, rows


@pytest.fixture(autouse=True)
def _reference():
    with force_path("reference"):
        yield


@pytest.mark.parametrize("gain", [0.3, 5.0])
def test_the_report_against_one_autograd_per_step(gain):
    """`∂E/∂s_k` and `∂⁺s_k/∂W` from a loop in which each step has a copy of state and weights to itself."""
    task, H, B = TemporalOrder(20), 5, 3
    model = Reader(task, Recurrent("elman", task.input_size, H)).double()
    with torch.no_grad():
        model.layer.weight_hh_l0.mul_(gain)
    inputs, targets = task.batch(B, torch.Generator().manual_seed(0))
    weights = {name: getattr(model.layer, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    cell, states, copies = Elman(task.input_size, H), [torch.zeros(B, H, dtype=torch.float64)], []
    for x in inputs.double():
        copies.append({name: weight.detach().clone().requires_grad_() for name, weight in weights.items()})
        states.append(cell.over(copies[-1])(x, (states[-1],))[0])
    loss = task.loss(model.readout(states[-1]), targets)
    errors = torch.stack(torch.autograd.grad(loss, states[1:], retain_graph=True)).norm(dim=-1)
    terms = torch.stack(torch.autograd.grad(loss, [copy["weight_hh"] for copy in copies]))
    decay = (errors / errors[-1]).log().mean(1).exp().flip(0)  # by lag
    norms = terms.flatten(1).norm(dim=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TemporalOrder, "batch", lambda *_: (inputs.double(), targets))
        found = init_report(model, task, B)
    assert found.horizon == int((decay > 0.01).nonzero().max())
    assert found.left == pytest.approx(float(decay[9]), rel=1e-6)
    assert found.far_share == pytest.approx(float(norms[:12].sum() / norms.sum()), rel=1e-6)  # the first 60 % of 20
    saturated = torch.stack(states[1:]).abs() > 0.95
    assert found.saturated == pytest.approx(float(saturated.double().mean()), rel=1e-6)
    assert bool(saturated.any()) == (gain == 5.0)
    assert found.gradient_norm == pytest.approx(float(terms.sum(0).norm()), rel=1e-6)


def test_a_loss_at_every_step_is_reported_too():
    task = Copy(5)
    found = init_report(Reader(task, Recurrent("lstm", task.input_size, 4)), task, 2)
    assert 0 < found.horizon < task.steps
    assert 0 < found.far_share < 1


def compared(task=None, seeds=1, updates=200, **options):
    return MemoryComparison(task or Adding(2), Budget(updates=updates), seeds, **{"hidden_size": 16, **options})


def test_solved_not_solved_and_not_finite():
    plain = Candidate("plain")
    (solved,) = study(compared(lr=2e-2), [plain])
    assert (solved.solved_at, solved.updates, solved.broken_at) == (solved.updates, solved.solved_at, None)
    assert solved.failure < 0.01
    (unsolved,) = study(compared(updates=3), [plain])
    assert (unsolved.solved_at, unsolved.broken_at, unsolved.updates) == (None, None, 3)
    assert unsolved.failure > 0.01
    (broken,) = study(compared(lr=1e30), [plain])
    assert (broken.solved_at, broken.broken_at) == (None, 11)
    assert math.isnan(broken.failure)
    assert solved.before == unsolved.before == broken.before


def test_seeds_differ_and_a_study_repeats_itself():
    candidates = [Candidate("a"), Candidate("b", clip=1e-6)]
    first, again = (list(study(compared(TemporalOrder(10), seeds=2, updates=4), candidates)) for _ in range(2))
    assert first == again
    assert [(t.candidate, t.seed) for t in first] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert first[0].before == first[2].before != first[1].before
    assert [t.clip_rate for t in first] == [0, 0, 1, 1]


def test_a_budget_is_needed():
    with pytest.raises(ConfigError, match="--updates or as --minutes"):
        next(study(MemoryComparison(Adding(10), Budget()), [Candidate("plain")]))
    (done,) = study(MemoryComparison(Adding(10), Budget(minutes=1e-9), hidden_size=3), [Candidate("plain")])
    assert done.updates == 1


def test_the_lag_is_that_of_the_nearer_symbol():
    assert probed_lag(TemporalOrder(100)) == 45
    assert probed_lag(Adding(2)) == 1


def training(candidate, horizon, norm, solved_at, seed=0):
    before = InitReport(horizon, 0.1, 0.1, norm, None)
    return Training(candidate, seed, before, 10, solved_at, None, 0.0, 0.0, horizon)


def test_what_foretold_is_computed():
    near, far = training("near", 7, 3.0, None), training("far", 99, 0.1, 5)
    split, ranked, *rest = foretold([near, far], lag=45)
    assert split == (
        "Of 1 trainings that began with a horizon of 45 steps or more, 1 solved the task; of 1 with a shorter one, 0."
    )
    assert "over 2 candidates: horizon +1.00, ‖∂E/∂W_hh‖ -1.00; here neither tells more" in ranked
    assert not rest
    swapped = foretold([training("near", 7, 3.0, 5), training("far", 99, 0.1, None)], lag=45)
    assert swapped[2:] == [
        "A short horizon, and solved all the same: near.",
        "A long horizon, and never solved: far.",
    ]
    assert "nothing to foretell" in foretold([near], lag=45)[1]


@pytest.mark.parametrize(
    ("horizons", "norms", "words"),
    [
        ((7, 50, 99), (1.0, 3.0, 2.0), "horizon +1.00, ‖∂E/∂W_hh‖ +0.50; here the horizon tells more."),
        ((50, 7, 99), (1.0, 2.0, 3.0), "horizon +0.50, ‖∂E/∂W_hh‖ +1.00; here the gradient norm tells more."),
        (
            (50, 7, 99),
            (3.0, 2.0, 1.0),
            "horizon +0.50, ‖∂E/∂W_hh‖ -1.00; here the gradient norm tells more, the smaller",
        ),
    ],
)
def test_who_tells_more_is_not_prejudged(horizons, norms, words):
    """Three candidates that solved it never, once of two, always."""
    outcomes = [(None, None), (5, None), (5, 5)]
    found = [
        training(str(k), horizons[k], norms[k], solved_at, seed)
        for k, outcome in enumerate(outcomes)
        for seed, solved_at in enumerate(outcome)
    ]
    assert words in foretold(found, lag=45)[1]


def test_rank_correlation_against_scipys_definition():
    x, y = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0]
    ranks = [torch.tensor([4.0, 0.5, 5.0, 0.5, 6.0, 7.0, 3.0]), torch.tensor([3.5, 5.0, 1.5, 6.5, 3.5, 6.5, 1.5])]
    wanted = torch.corrcoef(torch.stack(ranks))[0, 1]
    assert rank_correlation(x, y) != pytest.approx(float(wanted))  # ranks written wrong are noticed
    ranks[0] = torch.tensor([4.0, 1.5, 5.0, 1.5, 6.0, 7.0, 3.0])
    assert rank_correlation(x, y) == pytest.approx(float(torch.corrcoef(torch.stack(ranks))[0, 1]), rel=1e-6)


def test_rows_keep_the_order_and_count():
    (row, other) = rows([training("b", 7, 1.0, 5), training("b", 9, 3.0, None, 1), training("a", 1, 1.0, None)])
    assert (row.candidate, row.success, row.solved, row.horizon, row.gradient_norm) == ("b", 0.5, [5], 8, 2.0)
    assert (other.candidate, other.solved, other.broken) == ("a", [], 0)

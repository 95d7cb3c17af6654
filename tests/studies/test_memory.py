"""The long-memory tasks: the baselines are what the data says, and a cell that can remember learns a short one."""

import math
from functools import partial

import pytest
import torch

from gateflow import Recurrent
from gateflow.errors import ConfigError
from gateflow.remedies import init
from gateflow.studies.memory import Adding, Copy, TemporalOrder
from gateflow.studies.memory_training import train_memory


def drawn(task, size=4000):
    return task.batch(size, torch.Generator().manual_seed(1))


def test_adding_marks_one_number_in_each_half_and_guessing_one_scores_chance():
    task = Adding(60)
    inputs, targets = drawn(task)
    marks = inputs[..., 1]
    assert (marks[:30].sum(0) == 1).all()
    assert (marks[30:].sum(0) == 1).all()
    assert torch.equal((inputs[..., 0] * marks).sum(0), targets)
    assert task.failure(torch.ones(4000, 1), targets) == pytest.approx(task.chance, rel=0.06)
    assert task.failure(targets[:, None], targets) == 0


def test_copy_repeats_after_the_pause_and_the_memoryless_answer_scores_chance():
    task = Copy(100)
    inputs, targets = drawn(task, 200)
    symbols = inputs.argmax(-1)
    assert torch.equal(symbols[:10], targets[-10:])
    assert (symbols[10:-11] == Copy.blank).all()
    assert (symbols[-11] == Copy.signal).all()
    assert (symbols[-10:] == Copy.blank).all()
    assert (targets[:-10] == Copy.blank).all()
    assert len(inputs) == 120
    best = torch.full((120, 200, 9), -1e4)
    best[:-10, :, Copy.blank] = 0.0
    best[-10:, :, : Copy.symbols] = 0.0
    assert task.failure(best, targets) == pytest.approx(task.chance, rel=1e-5)
    assert task.chance == pytest.approx(0.1733, abs=1e-4)


@pytest.mark.parametrize("length", [10, 37, 100])
def test_temporal_order_has_two_symbols_in_their_places_and_four_even_classes(length):
    task = TemporalOrder(length)
    inputs, targets = drawn(task)
    told = inputs.argmax(-1)
    places = (told < 2).nonzero()
    assert len(places) == 2 * 4000
    first = told[length // 10 : length * 2 // 10].min(dim=0).values
    second = told[length * 5 // 10 : length * 6 // 10].min(dim=0).values
    assert torch.equal(2 * first + second, targets)
    assert torch.bincount(targets).min() > 900
    assert task.failure(torch.zeros(4000, 4), targets) == pytest.approx(task.chance, abs=0.03)


@pytest.mark.parametrize("task", [Adding(20), Copy(5), TemporalOrder(20)], ids=repr)
def test_batches_come_from_the_generator_alone(task):
    a, b = (task.batch(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], task.batch(3, torch.Generator().manual_seed(6))[0])


def test_too_short():
    with pytest.raises(ConfigError, match=r"TemporalOrder\(length=9\).*10 or more"):
        TemporalOrder(9)


def test_training_solves_a_short_task_and_repeats_itself():
    run = partial(
        train_memory,
        TemporalOrder(20),
        "lstm",
        init=partial(init.chrono, max_lag=20),
        hidden_size=50,
        learning_rate=5e-3,
    )
    outcome = run(updates=600, check_every=50)
    assert outcome.solved_at is not None
    assert outcome.checks[-1] == (outcome.solved_at, pytest.approx(0, abs=0.01))
    assert len(outcome.losses) == outcome.solved_at
    assert run(updates=5).losses == outcome.losses[:5]
    assert run(updates=5, seed=1).losses != outcome.losses[:5]


def test_training_takes_a_layer_and_does_not_touch_the_global_generator():
    before = torch.get_rng_state()
    outcome = train_memory(Copy(3), Recurrent("elman", 10, 4), updates=2, check_every=1, check_size=5)
    drawn_for_the_layer = torch.get_rng_state()
    assert len(outcome.checks) == 2
    assert not outcome.solved_at
    train_memory(Copy(3), "elman", hidden_size=4, updates=1)
    assert torch.equal(torch.get_rng_state(), drawn_for_the_layer)
    assert not torch.equal(before, drawn_for_the_layer)


def test_a_layer_of_another_size_is_refused():
    with pytest.raises(ConfigError, match=r"Adding gives inputs \[T, B, 2\]; the layer takes size 3"):
        train_memory(Adding(10), Recurrent("lstm", 3, 4))


@pytest.mark.parametrize("task", [Adding(20), Copy(5), TemporalOrder(20)], ids=repr)
def test_a_task_knows_its_steps(task):
    inputs, _ = task.batch(2, torch.Generator().manual_seed(0))
    assert len(inputs) == task.steps


def test_clipping_can_be_off_and_its_rate_is_counted():
    run = partial(train_memory, Adding(6), "elman", hidden_size=4, updates=8, learning_rate=0.1)
    off, tight, wide = (run(clip_norm=norm) for norm in (math.inf, 1e-6, 1e9))
    assert (off.clip_rate, tight.clip_rate, wide.clip_rate) == (0, 1, 0)
    assert off.losses == wide.losses != tight.losses


def test_a_penalty_is_learned_and_is_no_part_of_the_losses():
    def weight_decay(model, inputs, targets):
        assert inputs.shape[1] == len(targets)
        return 1e6 * model.layer.weight_hh_l0.square().sum()

    run = partial(train_memory, Adding(6), "elman", hidden_size=4, updates=30, learning_rate=0.01)
    plain, penalised = run(), run(penalty=weight_decay)
    assert penalised.losses[0] == plain.losses[0]
    assert penalised.model.layer.weight_hh_l0.norm() < 0.5 * plain.model.layer.weight_hh_l0.norm()


def test_a_gradient_that_is_not_finite_ends_the_training_and_is_said():
    outcome = train_memory(Adding(6), "elman", hidden_size=4, updates=50, learning_rate=1e30)
    assert outcome.broken_at == len(outcome.losses) == 11  # the first update, and the clipper's patience
    assert (outcome.solved_at, outcome.checks) == (None, [])
    assert math.isnan(outcome.failure)

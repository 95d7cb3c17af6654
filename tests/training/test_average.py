"""Averaged weights: the formula, the model's own weights untouched, and what is validated and kept."""

import pytest
import torch
from tests.training.test_loop import loop
from tests.training.tiny import EchoTask, echo_run
from torch import nn

from gateflow.runs.weights import read_tensors
from gateflow.training.average import WeightAverage
from gateflow.training.checkpoint import Checkpoint


def test_each_update_has_the_part_that_the_formula_says():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, decay=0.8)
    wanted = model.weight.detach().double().clone()
    for n in range(1, 30):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        average.update(n)
        decay = min(0.8, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * model.weight.detach().double()
    torch.testing.assert_close(average.averages["weight"].double(), wanted, rtol=1e-5, atol=1e-6)


def test_within_the_block_the_model_has_the_average_and_afterwards_its_own_weights():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    average = WeightAverage(model, decay=0.5)
    with torch.no_grad():
        model.weight.add_(1)
    average.update(100)
    own, version = model.weight.detach().clone(), model.weight._version
    with average.in_place():
        assert torch.equal(model.weight, average.averages["weight"])
        assert model.weight._version > version  # a kernel that has packed them reads them again
    assert torch.equal(model.weight, own)


def test_whatever_goes_wrong_in_the_block_the_model_has_its_own_weights_again():
    model = nn.Linear(3, 2)
    average, own = WeightAverage(model, decay=0.5), model.weight.detach().clone()

    def fail():
        with average.in_place():
            model(torch.zeros(1, 9))

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(model.weight, own)


def test_weights_that_stand_in_two_places_are_averaged_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(WeightAverage(model, decay=0.5).averages) == 3


def test_the_average_is_what_is_validated_and_kept(tmp_path):
    run, config = echo_run(tmp_path / "run", average=0.9, epochs=5, lr=0.05)
    outcome = loop(run, config).train()
    checkpoint, (kept, _) = Checkpoint.read(run.checkpoint_file), read_tensors(run.model_file)
    if outcome.best is not None and checkpoint.progress.stale == 0:
        assert all(torch.equal(kept[name], mean) for name, mean in checkpoint.named("average").items())
    assert not torch.equal(kept["output.weight"], checkpoint.named("model")["output.weight"])
    task = EchoTask()
    task.model.load_state_dict(kept)
    sums, count = task.validate(task.model.eval())
    assert sums["loss"] / count == pytest.approx(outcome.best)


def test_averaging_can_begin_and_end_in_the_middle_of_a_run(tmp_path):
    run, config = echo_run(tmp_path / "run", max_updates=4)
    loop(run, config).train()
    for options in ({"average": 0.9, "max_updates": 8}, {"max_updates": 12}):
        changed = config.model_copy(update={"training": config.training.model_copy(update=options)})
        loop(run, changed).train()
        assert bool(Checkpoint.read(run.checkpoint_file).named("average")) == ("average" in options)

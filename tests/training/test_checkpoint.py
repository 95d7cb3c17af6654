"""A checkpoint gives back what it was given, bit for bit, and refuses what is none."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from gateflow.errors import NonFiniteError, RunError
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.training.checkpoint import Checkpoint, Progress, random_state, set_random_state


def stepped(optimizer_of, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(4, 3)
    optimizer = optimizer_of(model.parameters())
    for _ in range(3):
        model(torch.randn(5, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


OPTIMIZERS = {
    "adamw": lambda parameters: AdamW(parameters, 0.01),
    "amsgrad": lambda parameters: Adam(parameters, 0.01, amsgrad=True),
    "sgd": lambda parameters: SGD(parameters, 0.1),
    "momentum": lambda parameters: SGD(parameters, 0.1, momentum=0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimizer_takes_the_same_step(tmp_path, name):
    model, optimizer = stepped(OPTIMIZERS[name])
    progress = Progress(step=3, batch=2, best=0.1 + 0.2, loss_sum=1 / 3, clipper={"norms": [0.1, 2e-17]})
    Checkpoint.of(model, optimizer, progress).write(tmp_path / "c")
    other, other_optimizer = stepped(OPTIMIZERS[name], seed=1)
    assert Checkpoint.read(tmp_path / "c").restore(other, other_optimizer) == progress
    x = torch.randn(5, 4)
    for m, o in ((model, optimizer), (other, other_optimizer)):
        m(x).square().mean().backward()
        o.step()
    assert torch.equal(model.weight, other.weight)
    assert torch.equal(model.bias, other.bias)


def test_the_carried_state_keeps_its_layers_and_parts(tmp_path):
    model, optimizer = stepped(OPTIMIZERS["sgd"])
    carried = [tuple(torch.randn(2, 3) for _ in range(parts)) for parts in (2, 1, 2)] * 4
    Checkpoint.of(model, optimizer, Progress(), carried=carried).write(tmp_path / "c")
    start = [tuple(torch.zeros_like(part) for part in layer) for layer in carried]
    restored = Checkpoint.read(tmp_path / "c").carried(start)
    assert [len(layer) for layer in restored] == [len(layer) for layer in carried]
    assert all(torch.equal(a, b) for x, y in zip(restored, carried, strict=True) for a, b in zip(x, y, strict=True))


def test_random_numbers_go_on(tmp_path):
    model, optimizer = stepped(OPTIMIZERS["sgd"])
    Checkpoint.of(model, optimizer, Progress(), random=[random_state()]).write(tmp_path / "c")
    expected = torch.rand(7)
    set_random_state(Checkpoint.read(tmp_path / "c").random(0), tmp_path / "c")
    assert torch.equal(torch.rand(7), expected)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    write_tensors(tmp_path / "c", {"model.weight": torch.zeros(2)})
    with pytest.raises(RunError, match=r"c is no checkpoint of gateflow \(progress: field required\)"):
        Checkpoint.read(tmp_path / "c")
    write_tensors(tmp_path / "c", {"model.weight": torch.zeros(2)}, {"gateflow": '{"progress": {"steps": 3}}'})
    with pytest.raises(RunError, match=r"c is no checkpoint of gateflow \(progress: value error, step is missing\)"):
        Checkpoint.read(tmp_path / "c")


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path):
    Checkpoint.of(*stepped(OPTIMIZERS["adamw"]), Progress()).write(tmp_path / "c")
    model = nn.Linear(4, 3)
    groups = [{"params": [model.weight]}, {"params": [model.bias]}]
    with pytest.raises(RunError, match=r"the checkpoint's optimizer does not fit"):
        Checkpoint.read(tmp_path / "c").restore(model, SGD(groups, 0.1))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model, optimizer = stepped(OPTIMIZERS["sgd"])
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    Checkpoint.of(model, optimizer, Progress()).write(tmp_path / "c")
    with pytest.raises(NonFiniteError, match=r"weight in .*c holds NaN or infinity"):
        Checkpoint.read(tmp_path / "c").restore(*stepped(OPTIMIZERS["sgd"]))


def test_a_checkpoint_of_an_older_version_counts_windows(tmp_path):
    model, path = nn.Linear(2, 3), tmp_path / "last.safetensors"
    optimizer = AdamW(model.parameters())
    Checkpoint.of(model, optimizer, Progress(step=9, batch=4)).write(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {"gateflow": metadata["gateflow"].replace('"batch"', '"window"')})
    assert Checkpoint.read(path).progress.batch == 4

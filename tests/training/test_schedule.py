"""The learning rate against torch's own schedulers."""

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from gateflow.training.schedule import rate


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_as_torch_has_it_without_warm_up(schedule):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    judge = CosineAnnealingLR(optimizer, 20) if schedule == "cosine" else LinearLR(optimizer, 1.0, 0.0, 20)
    for step in range(20):
        assert rate(step, 20, peak=0.3, warmup=0, schedule=schedule) == pytest.approx(judge.get_last_lr()[0])
        optimizer.step()
        judge.step()


def test_as_torch_has_it_with_warm_up():
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    warm, then = LinearLR(optimizer, 1 / 4, 1.0, 3), CosineAnnealingLR(optimizer, 16)
    judge = SequentialLR(optimizer, [warm, then], [4])
    for step in range(20):
        assert rate(step, 20, peak=0.3, warmup=4, schedule="cosine") == pytest.approx(judge.get_last_lr()[0])
        optimizer.step()
        judge.step()


def test_constant_stays_and_a_warm_up_longer_than_the_run_works():
    assert [rate(step, 9, peak=2.0, warmup=0, schedule="constant") for step in (0, 5, 8)] == [2.0] * 3
    assert rate(3, 5, peak=1.0, warmup=10, schedule="cosine") == pytest.approx(0.4)

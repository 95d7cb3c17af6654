"""Memory that is free is taken again, memory that is in use never."""

import os
import sys
from collections import defaultdict

import pytest
import torch

from gateflow.backends.cpu import allocator
from gateflow.backends.cpu.allocator import empty

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there torch's own allocator is used")


@pytest.fixture(autouse=True)
def no_blocks_of_others(monkeypatch):
    monkeypatch.setattr(allocator, "_free", defaultdict(list))


def test_free_memory_is_taken_again_by_what_is_about_as_large():
    first = empty(1000, 100, torch.float32)
    place, size = first.data_ptr(), first.shape
    del first
    second = empty(995, 100, torch.float32)
    assert second.data_ptr() == place
    assert size != second.shape == (995, 100)


def test_memory_in_use_is_not():
    first = empty(1000, 100, torch.float32).fill_(1)
    view = first[5]
    del first
    second = empty(1000, 100, torch.float32).fill_(2)
    assert bool((view == 1).all())
    assert bool((second == 2).all())


def test_it_holds_as_many_numbers_as_asked_for():
    for lines in (0, 1, 7, 40_000, 999_999):
        matrix = empty(lines, 3, torch.float64)
        matrix[:] = torch.arange(3, dtype=torch.float64)
        assert matrix.shape == (lines, 3)
        assert matrix.is_contiguous()
        assert bool((matrix.sum(0) == torch.tensor([0.0, lines, 2.0 * lines])).all())


def test_a_limited_amount_waits(monkeypatch):
    monkeypatch.setattr(allocator, "KEPT", 1 << 20)
    many = [empty(1000, 100, torch.float32) for _ in range(20)]
    del many
    assert 0 < sum(size * len(waiting) for size, waiting in allocator._free.items()) < 1 << 21


def test_what_is_undefined_is_nan_where_torch_is_asked_for_that():
    torch.use_deterministic_algorithms(True)
    try:
        assert bool(empty(1000, 100, torch.float32).isnan().all())
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_has_memory_of_its_own():
    matrix = empty(1000, 100, torch.float32).fill_(1)
    child = os.fork()
    if not child:
        matrix.numpy().fill(2)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert bool((matrix == 1).all())

"""The tasks of 1997 as the paper words them, and the table of `make published`."""

import json
import sys

import pytest
import torch
from benchmarks import published
from benchmarks.tasks_of_1997 import Adding1997, TemporalOrder1997


def drawn(task, count=100):
    """Sequences by themselves, from batches of many lengths."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        inputs, targets = task.batch(20, generator)
        yield from ((inputs[:, row], targets[row]) for row in range(20))


def test_adding_is_experiment_4():
    lengths, places = set(), []
    for pairs, target in drawn(Adding1997(100)):
        lengths.add(len(pairs))
        marked = [k for k, (_, mark) in enumerate(pairs.tolist()) if mark == 1]
        assert pairs[0, 1] == pairs[-1, 1] == -1
        assert 1 <= len(marked) <= 2
        assert float(target) == pytest.approx(0.5 + sum(float(pairs[k, 0]) for k in marked) / 4)
        places += [marked] if len(marked) == 2 else []
    assert lengths == set(range(100, 111))
    assert min(min(pair) for pair in places) == 1
    assert max(min(pair) for pair in places) == 9
    assert max(max(pair) for pair in places) == 49


def test_an_answer_to_adding_may_be_off_by_less_than_four_hundredths():
    task, targets = Adding1997(100), torch.rand(10)
    assert task.failure((targets + 0.039)[:, None], targets) == 0
    assert task.failure((targets - 0.041)[:, None], targets) == 1
    _, targets = task.batch(20_000, torch.Generator().manual_seed(1))
    assert task.failure(torch.full((20_000, 1), 0.5), targets) == pytest.approx(task.chance, abs=0.03)


def test_temporal_order_is_experiment_6a():
    lengths, first, second = set(), set(), set()
    for symbols, target in drawn(TemporalOrder1997(100)):
        names = "".join("XYabcdEB"[k] for k in symbols.argmax(-1).tolist())
        assert bool((symbols.sum(-1) == 1).all())
        (one, x), (other, y) = ((k, name) for k, name in enumerate(names) if name in "XY")
        assert names[0] == "E"
        assert names.index("B") == len(names) - 1
        assert ["XX", "XY", "YX", "YY"][int(target)] == x + y
        lengths.add(len(names))
        first.add(one)
        second.add(other)
    assert lengths == set(range(100, 111))
    assert first == set(range(10, 21))
    assert second == set(range(50, 61))


def test_an_order_is_right_if_no_probability_is_off_by_three_tenths():
    task, targets = TemporalOrder1997(100), torch.tensor([0, 1])
    sure = torch.tensor([[0.71, 0.29, 1e-9, 1e-9], [0.31, 0.69, 1e-9, 1e-9]]).log()
    assert task.failure(sure, targets) == 0.5


def test_a_trial_ends_when_none_of_2000_is_wrong():
    easy = TemporalOrder1997(100)
    found = published.trial(easy, published.LEARNERS[0], seed=0, budget=30_000)
    assert found.solved_after is not None
    assert found.solved_after % (100 * published.BATCH) == 0
    assert found.wrong <= 10
    assert published.trial(easy, published.LEARNERS[0], 0, budget=2000).solved_after is None


def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(published, "EXPERIMENTS", published.EXPERIMENTS[:1])
    trials = iter([published.Trial(4000, 1), published.Trial(None, 900), published.Trial(8000, 3)] * 3)
    monkeypatch.setattr(published, "trial", lambda *_: next(trials))
    monkeypatch.setattr(sys, "argv", ["published", "--seeds", "3"])
    published.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(published.LEARNERS)
    assert "74,000; 1 wrong" in lines[1]
    assert "6,000 (4,000 to 8,000)" in lines[1]
    assert "2 of 3" in lines[1]
    monkeypatch.setattr(sys, "argv", ["published", "--seeds", "3", "--json"])
    trials = iter([published.Trial(None, 900)] * 9)
    published.main()
    assert json.loads(capsys.readouterr().out)[0]["median"] is None

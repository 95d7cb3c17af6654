"""Bit for bit the same: whatever the number of threads, the neighbours in the batch, and what memory held before."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same, distance

from gateflow import LSTM, Recurrent, cells
from gateflow.backends.cpu import launch

pytestmark = needs_compiler


@pytest.fixture
def threads():
    """A setter of the number of threads, undone at the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def shared(monkeypatch):
    """How each loop was shared out: "units" or "samples", among how many threads."""
    found, partition = set(), launch.partition

    def noted(*arguments):
        threads, bounds = partition(*arguments)
        found.add(("units" if bounds is None else "samples", threads))
        return threads, bounds

    monkeypatch.setattr(launch, "partition", noted)
    return found


@pytest.mark.parametrize("name", ["peephole_lstm", "full_gru"])
@pytest.mark.parametrize(("B", "by"), [(8, "units"), (45, "samples")])
@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
def test_the_number_of_threads_changes_no_bit(name, B, by, ragged, threads, shared):
    cell = cells.get(name)(20, 200)
    case = Case((cell, cells.get(name)(20, 200)), 5, B, [k % 6 for k in range(B)] if ragged else None)
    runs = {}
    for n in (1, 2, 3):
        threads(n)
        runs[n] = case.run("native")
    assert (by, 3) in shared, f"nothing was shared out by {by}: {shared}"
    for n in (2, 3):
        assert list(runs[n]) == list(runs[1])
        differing = {what for what, value in runs[1].items() if not torch.equal(value, runs[n][what])}
        assert not differing, f"with {n} threads: {differing}"


@pytest.mark.parametrize("name", ["lstm", "layernorm_gru", "full_gru"])
def test_a_row_alone_is_the_row_in_any_batch(name):
    layer, lengths = Recurrent(name, 5, 19, bidirectional=True), [4, 9, 1, 7, 0, 3, 9]
    x = torch.randn(9, 7, 5)
    y, final = layer(x, lengths=lengths)
    for b, n in enumerate(lengths):
        if n:
            alone, last = layer(x[:n, b : b + 1])
            assert distance(alone[:, 0], y[:n, b]) < 1e-6
            for found, wanted in zip(last, final, strict=True):
                assert all(distance(p[0], q[b]) < 1e-6 for p, q in zip(found, wanted, strict=True))
        assert not y[n:, b].any()


@pytest.mark.parametrize("name", ["lstm", "full_gru", "layernorm_lstm", "projected_lstm"])
@pytest.mark.parametrize("memory", ["fast", "lean"])
def test_what_memory_held_before_is_not_seen(name, memory, monkeypatch):
    made = tuple(cells.get(name)(3, 17, dtype=torch.float64) for _ in range(2))
    cases = [Case(made, 7, 5, lengths, memory=memory) for lengths in (None, [3, 7, 0, 1, 7])]
    clean = [case.run("native") for case in cases]
    filled = 0

    def spoilt(make):
        def spoil(*arguments, **options):
            nonlocal filled
            filled += 1
            return make(*arguments, **options).fill_(torch.nan)

        return spoil

    for place, function in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(place, function, spoilt(getattr(place, function)))
    for case, wanted in zip(cases, clean, strict=True):
        assert_same(case.run("native"), wanted, 0.0, case)
    assert filled > 10


def test_the_callers_treatment_of_subnormals_is_left_alone():
    case = Case((cells.LSTM(3, 5),), 4, 2)
    tiny = torch.tensor([1e-40])
    for flush in (True, False):
        torch.set_flush_denormal(flush)
        try:
            case.run("native")
            assert bool((tiny * 1.0 == 0).all()) == flush
        finally:
            torch.set_flush_denormal(False)


def test_a_vanishing_gradient_is_right():
    """torch's LSTM has the same gradients, its numbers subnormal on the way; ours are zero there."""
    ours, theirs = LSTM(8, 32), torch.nn.LSTM(8, 32)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(200, 4, 8)
    for found, wanted in zip(_gradients(ours, x), _gradients(theirs, x), strict=True):
        assert torch.isfinite(found).all()
        assert distance(found, wanted) < 1e-4


def _gradients(layer, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(layer(x)[0][-1].square().sum(), [x, *layer.parameters()])

"""Bit for bit the same: whatever the number of threads, the neighbours in the batch, and what memory held before."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same, distance

from gateflow import LSTM, Recurrent, cells
from gateflow.backends.cpu import launch, partition
from gateflow.backends.cpu.kernel import COSTS
from gateflow.compiler import compile_cell

pytestmark = needs_compiler


@pytest.fixture
def divided_into(monkeypatch):
    """A setter of the groups of samples and the parts of units that threads have, undone at the end."""
    before, groups_and_parts = torch.get_num_threads(), [1, 1]

    def set_both(groups, parts):
        groups_and_parts[:] = groups, parts
        torch.set_num_threads(groups * parts)

    monkeypatch.setattr(launch, "partition", lambda *run: partition.divided(*groups_and_parts, *run))
    yield set_both
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["peephole_lstm", "full_gru"])
@pytest.mark.parametrize(("T", "B"), [(5, 8), (5, 45), (1, 3)])
@pytest.mark.parametrize("ragged", [False, True], ids=["plain", "ragged"])
def test_the_number_of_threads_changes_no_bit(name, T, B, ragged, divided_into):
    cell = cells.get(name)(20, 200)
    case = Case((cell, cells.get(name)(20, 200)), T, B, [k % (T + 1) for k in range(B)] if ragged else None)
    divided_into(1, 1)
    alone = case.run("native")
    for groups, parts in ((2, 1), (3, 1), (1, 2), (1, 3), (2, 2)):
        divided_into(groups, parts)
        found = case.run("native")
        assert list(found) == list(alone)
        differing = {what for what, value in alone.items() if not torch.equal(value, found[what])}
        assert not differing, f"with {groups} groups of {parts} parts: {differing}"


@pytest.mark.parametrize("name", ["lstm", "full_gru", "layernorm_lstm"])
@pytest.mark.parametrize("memory", ["fast", "lean"])
def test_groups_over_many_blocks_of_steps_keep_out_of_each_others_memory(name, memory, divided_into):
    """What runs ahead of the steps has memory for a block of them: one group must not be a block ahead on another's."""
    cell = cells.get(name)(20, 48)
    lengths = torch.randint(1, 41, (40,), generator=torch.Generator().manual_seed(3)).tolist()
    case = Case((cell, cells.get(name)(20, 48)), 40, 40, lengths, memory=memory)
    divided_into(1, 1)
    alone = case.run("native")
    for groups in (2, 3, 5) * 3:
        divided_into(groups, 1)
        found = case.run("native")
        differing = {what for what, value in alone.items() if not torch.equal(value, found[what])}
        assert not differing, f"with {groups} groups: {differing}"


# Per step: samples, units, threads, what the weights of an LSTM are divided into.
DIVISIONS = [
    (1, 128, 16, (1, 1)),  # a meeting takes longer than the step
    (8, 128, 2, (2, 1)),
    (8, 128, 8, (8, 1)),  # the weights stay in the cache of each core
    (1, 256, 8, (1, 8)),
    (8, 256, 16, (4, 4)),
    (32, 256, 16, (8, 2)),
    (128, 1024, 2, (2, 1)),
    (1, 1024, 16, (1, 16)),
]


@pytest.mark.parametrize(("B", "H", "threads", "wanted"), DIVISIONS)
def test_threads_divide_what_is_worth_dividing(B, H, threads, wanted):
    sizes = {"P": 0, "H": H, "I": H, "1": 1}
    plan = compile_cell(cells.LSTM(H, H, device="meta")).programs(COSTS).train
    assert partition._cheapest(plan, tuple(sizes.items()), B, threads) == wanted


def test_a_small_call_stays_on_the_thread_that_makes_it():
    sizes = {"P": 0, "H": 256, "I": 256, "1": 1}
    plan = compile_cell(cells.LSTM(256, 256, device="meta")).programs(COSTS).train
    for B, T, wanted in ((1, 1, False), (8, 1, False), (1, 50, True)):
        assert partition._worth_a_team(plan, tuple(sizes.items()), B, T) == wanted


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

"""Runs that come again over tensors of the same shapes: right whatever the tensors, and as if they were the first."""

import threading

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same

from gateflow import LSTM, Recurrent, cells
from gateflow.backends.cpu import forward, repeated
from gateflow.backends.cpu.repeated import Repeated

pytestmark = needs_compiler
T, B, I, H = 6, 3, 4, 5


@pytest.fixture
def repeats(monkeypatch):
    """How many runs were made again."""
    count, call = [], Repeated.__call__
    monkeypatch.setattr(Repeated, "__call__", lambda self, tensors: (count.append(self), call(self, tensors))[1])
    return count


@pytest.mark.parametrize("name", ["lstm", "gru", "peephole_lstm", "layernorm_gru", "projected_lstm", "full_gru"])
@pytest.mark.parametrize("steps", [1, T])
def test_each_of_several_runs_is_right(name, steps, repeats):
    options = {"proj_size": 2} if name == "projected_lstm" else {}
    made = tuple(cells.get(name)(I, H, dtype=torch.float64, **options) for _ in range(2))
    for _ in range(3):
        case = Case(made, steps, B)  # tensors of its own
        assert_same(case.run("native"), case.run("reference"), 1e-10, name)
    assert len(repeats) == 3 * 2 * 2  # runs, directions, forward and backward


def test_runs_too_large_to_be_repeated_are_the_same(monkeypatch):
    layer, x = LSTM(I, H), torch.randn(T, B, I, requires_grad=True)
    found = []
    for largest in (repeated.LARGEST, 0):
        monkeypatch.setattr(repeated, "LARGEST", largest)
        y, (h, c) = layer(x)
        found.append([y, h, c, *torch.autograd.grad((y.sin().sum() + c.sum()), [x, *layer.parameters()])])
    assert all(map(torch.equal, *found))


def test_what_was_asked_for_is_part_of_what_comes_again():
    """Gradients of some weights, of the input or none, of the output or the final state alone."""
    layer = LSTM(I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        for inputs in ([x], [layer.weight_hh_l0], [layer.bias_ih_l0, x], [*layer.parameters()]):
            for which in (0, 1):
                y, (_, c) = layer(x)
                loss = (y, c)[which].sin().sum()
                found = torch.autograd.grad(loss, inputs, retain_graph=True)
                with torch.autograd.graph.save_on_cpu():  # other tensors, so other addresses
                    y, (_, c) = layer(x)
                wanted = torch.autograd.grad((y, c)[which].sin().sum(), inputs)
                assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("lines", ["expanded", "with gaps", "transposed"])
def test_inputs_may_lie_in_memory_as_they_like(lines):
    layer = LSTM(I, H, dtype=torch.float64)
    base = torch.randn(T, B, 2 * I, dtype=torch.float64)
    x = {
        "expanded": base[:1, :1, :I].expand(T, B, I),
        "with gaps": base[:, :, :I],
        "transposed": base.transpose(0, 1)[:, :, :I].contiguous().transpose(0, 1),
    }[lines]
    plain = x.clone(memory_format=torch.contiguous_format)
    for _ in range(3):
        found = torch.autograd.grad(layer(x)[0].sin().sum(), [*layer.parameters()])
        wanted = torch.autograd.grad(layer(plain)[0].sin().sum(), [*layer.parameters()])
        assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in zip(found, wanted, strict=True))


def test_threads_have_runs_of_their_own():
    layer = Recurrent("gru", 32, 64)
    inputs = [torch.randn(20, 2, 32) for _ in range(4)]
    with torch.no_grad():
        wanted = [layer(x)[0] for x in inputs]
    wrong = []

    def work(k):
        with torch.no_grad():
            wrong.extend(k for _ in range(50) if not torch.equal(layer(inputs[k])[0], wanted[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_stands_in_is_not_kept():
    layer, x = LSTM(I, H), torch.randn(T, B, I)
    layer(x)[0].sum().backward()
    loop = forward.kernel_of(layer._equations[0]._look._found[False, True, False, False].cell).loop(
        "train", x.dtype, None
    )
    (again,) = next(iter(loop.repeats._free.values()))
    assert again.run.prepared.held is None


def test_a_number_that_points_nowhere_known_is_refused():
    layer, x = LSTM(I, H), torch.randn(T, B, I)
    layer(x)[0].sum().backward()
    loop = forward.kernel_of(layer._equations[0]._look._found[False, True, False, False].cell).loop(
        "train", x.dtype, None
    )
    (again,) = next(iter(loop.repeats._free.values()))
    with pytest.raises(LookupError):
        Repeated(again.run.prepared, [], [x])

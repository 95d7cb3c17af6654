"""What is private in torch is called in one place, does what it is called for, and is named where it is missing."""

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gateflow
from gateflow.recurrence import private_torch
from gateflow.recurrence.private_torch import looked_up


def seen(function):
    """What a private function says within a call, and the tensor goes on."""
    found = []

    def watched(x):
        found.append(function())
        return x * 2

    return watched, found


def test_nothing_else_of_it_is_called():
    root = Path(gateflow.__file__).parent
    others = [path for path in root.rglob("*.py") if "torch._C" in path.read_text(encoding="utf-8")]
    assert others == [Path(private_torch.__file__)]


def test_a_version_that_has_lost_one_is_named(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "9.1")
    with pytest.raises(RuntimeError, match=r"torch 9\.1 has no torch\._C\._functorch\.gone.*torch 2\.13 has"):
        looked_up("_functorch.gone")


def test_each_tells_what_it_is_called_for():
    assert private_torch.tracing_state() is private_torch.transforms() is None
    assert not private_torch.dispatch_modes()
    assert not private_torch.any_autocast()
    watched, found = seen(private_torch.transforms)
    torch.func.vmap(watched)(torch.ones(2))
    assert found[0] is not None
    watched, found = seen(private_torch.tracing_state)
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.trace(watched, torch.ones(2), check_trace=False)
    assert found[0] is not None
    with torch.autocast("cpu"), TorchDispatchMode():
        assert private_torch.any_autocast()
        assert private_torch.dispatch_modes() == 1


def test_many_gradients_at_once_are_told_from_one():
    found = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            found.append(private_torch.is_legacy_batched(gradient))
            return gradient * 2

    x = torch.ones(2, requires_grad=True)
    torch.autograd.grad(Watched.apply(x), x, torch.ones(2))
    torch.autograd.grad(Watched.apply(x), x, torch.eye(2), is_grads_batched=True)
    assert found == [False, True]

"""What comes in or back in an unusual form is read right: gaps, signs that are marks, hooks for saved tensors."""

import pytest
import torch
from tests.oracle import needs_compiler

from gateflow import Recurrent
from gateflow.errors import ShapeError
from gateflow.recurrence import force_path

T, B, I, H = 5, 3, 4, 6

pytestmark = needs_compiler

FORMS = {
    "transposed": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else t,
    "with gaps between lines": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]],
    "with gaps between numbers": lambda t: torch.stack([t, t], -1)[..., 0],
    "from the middle of something": lambda t: torch.cat([t.flatten(), t.flatten()])[t.numel() :].view(t.shape),
    "with its sign as a mark": lambda t: torch._neg_view(-t) if t.is_floating_point() else t,
    "on its way through the disk": lambda t: t.clone(),
}


@pytest.mark.parametrize("memory", ["fast", "lean"])
@pytest.mark.parametrize("cell", ["lstm", "full_gru", "peephole_lstm"])
@pytest.mark.parametrize("form", FORMS)
def test_saved_tensors_may_come_back_in_another_form(form, cell, memory):
    torch.manual_seed(0)
    layer = Recurrent(cell, I, H, bidirectional=True, zoneout=0.2, memory=memory, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    for lengths in (None, [5, 0, 2]):
        torch.manual_seed(1)
        wanted = torch.autograd.grad(layer(x, lengths=lengths)[0].square().sum(), [x, *layer.parameters()])
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, FORMS[form]):
            y = layer(x, lengths=lengths)[0].square().sum()
        found = torch.autograd.grad(y, [x, *layer.parameters()])
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("change", [lambda t: t.float(), lambda t: t.flatten()[:1]])
def test_what_is_something_else_is_refused(change):
    layer, x = Recurrent("gru", I, H, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: change(t) if t.is_floating_point() else t):
        y = layer(x)[0].sum()
    with pytest.raises((ShapeError, RuntimeError)):
        y.backward()


@pytest.mark.parametrize("path", ["native", "reference"])
def test_an_input_whose_sign_is_a_mark(path):
    layer = Recurrent("lstm", 1, 1)
    z = torch.randn(1, 1, 1, dtype=torch.complex64)
    x, plain = z.conj().imag, (-z.imag).clone()
    assert x.is_neg()
    state = [(torch._neg_view(torch.ones(1, 1)), torch.ones(1, 1))]
    resolved = [(-torch.ones(1, 1), torch.ones(1, 1))]
    with force_path(path):
        torch.testing.assert_close(layer(x, state)[0], layer(plain, resolved)[0])
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(layer.step(x[0], state)[0], layer.step(plain[0], resolved)[0])
        with layer.streaming():
            torch.testing.assert_close(layer.step(x[0], state)[0], layer.step(plain[0], resolved)[0])


def test_a_gradient_whose_sign_is_a_mark():
    layer, x = Recurrent("gru", I, H), torch.randn(T, B, I, requires_grad=True)
    gradient = torch.randn(T, B, H)
    (wanted,) = torch.autograd.grad(layer(x)[0], x, -gradient)
    (found,) = torch.autograd.grad(layer(x)[0], x, torch._neg_view(gradient))
    torch.testing.assert_close(found, wanted)

"""Precision belongs to a run, not to the process: neither a loop nor a step takes it from what ran before."""

import subprocess
import sys

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same, distance

from gateflow import Recurrent, cells
from gateflow.errors import ShapeError
from gateflow.recurrence import force_path

pytestmark = needs_compiler

IN_THIS_ORDER = """
import sys, torch
from gateflow import Recurrent
from gateflow.recurrence import force_path
layer, x = Recurrent("gru", 3, 5), torch.randn(4, 2, 3)
for precision in sys.argv[1:]:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        found = layer(x)[0]
    with torch.no_grad(), force_path("reference"):
        away = (found - layer(x)[0]).abs().max().item()
    assert (1e-5 < away < 0.1) if precision == "bf16" else away < 1e-6, (precision, away)
"""


@pytest.mark.parametrize("order", [("bf16", "fp32"), ("fp32", "bf16")])
def test_kernels_of_two_precisions_live_side_by_side(order):
    subprocess.run([sys.executable, "-c", IN_THIS_ORDER, *order], check=True, timeout=300)


class RoundedProduct(torch.autograd.Function):
    """x Wᵀ of factors rounded to bfloat16, with sums in fp32; its derivatives are such products too."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.factors = x, weight = x.bfloat16().float(), weight.bfloat16().float()
        return x @ weight.T

    @staticmethod
    def backward(ctx, *grad_outputs):
        (x, weight), d = ctx.factors, grad_outputs[0].bfloat16().float()
        return d @ weight, d.T @ x


def rounded_linear(x, weight, bias=None):
    product = RoundedProduct.apply(x, weight)
    return product if bias is None else product + bias


@pytest.mark.parametrize(
    ("cell", "lengths", "memory"),
    [
        ("lstm", None, "fast"),
        ("lstm", [3, 0, 2, 3, 1], "lean"),
        ("full_gru", [3, 0, 2, 3, 1], "fast"),
        ("projected_lstm", None, "fast"),
    ],
)
def test_bf16_rounds_the_factors_of_products_and_nothing_else(cell, lengths, memory, monkeypatch):
    case = Case((cells.get(cell)(7, 21),), 3, 5, lengths, memory=memory)
    with torch.autocast("cpu", torch.bfloat16):
        found = case.run("native")
    exact = case.outputs("reference")
    monkeypatch.setattr("torch.nn.functional.linear", rounded_linear)
    assert_same(found, case.run("reference"), 1e-5, case)
    assert distance(found["output of 0"], exact["output of 0"]) > 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_in_half_precision_is_a_sequence_of_one(dtype):
    layer, x = Recurrent("lstm", 3, 5, dtype=dtype), torch.randn(2, 3, dtype=dtype)
    with torch.no_grad():
        found, wanted = layer.step(x)[0], layer(x[None])[0][0]
    assert found.dtype == dtype
    assert torch.equal(found, wanted)


def test_so_is_a_step_under_autocast():
    layer, x = Recurrent("lstm", 3, 5), torch.randn(2, 3)
    with torch.no_grad():
        exact = layer.step(x)[0]
        with torch.autocast("cpu", torch.bfloat16):
            found, wanted = layer.step(x)[0], layer(x[None])[0][0]
    assert torch.equal(found, wanted)
    assert 0 < distance(found, exact) < 0.02


@pytest.mark.parametrize("part", ["input", "state", "weights"])
def test_a_step_of_mixed_precision_reads_no_number_as_another(part):
    layer, x = Recurrent("elman", 3, 5), torch.randn(2, 3)
    with torch.no_grad():
        state = layer.step(x)[1]
        layer = layer.double() if part == "weights" else layer
        x = x.double() if part == "input" else x
        state = [(h.double(),) for (h,) in state] if part == "state" else state
        with pytest.raises(ShapeError, match="dtype"):
            layer.step(x, state)


@pytest.mark.parametrize("name", ["gru", "layernorm_lstm"])
def test_masks_of_a_layer_in_bfloat16_are_read_as_what_they_are(name):
    """They are bfloat16 as the state is, and the loops compute in float32: read as they lie they are garbage."""
    torch.manual_seed(0)
    layer = Recurrent(name, 3, 8, zoneout=0.3).bfloat16().train()
    x, found = torch.randn(6, 4, 3, dtype=torch.bfloat16), {}
    for path in ("native", "reference"):
        torch.manual_seed(1)
        layer.zero_grad()
        with force_path(path):
            y = layer(x, lengths=[6, 3, 0, 5])[0]
        y.float().square().sum().backward()
        found[path] = [y.float(), *(w.grad.float() for w in layer.parameters())]
    for a, b in zip(found["native"], found["reference"], strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.1)


def test_holds_of_another_dtype_are_refused():
    from gateflow.backends import Sequences
    from gateflow.cells import LSTM
    from gateflow.compiler import look_at

    cell = LSTM(3, 4)
    states, weights = [torch.zeros(2, 4)] * 2, dict(cell.named_parameters())
    with pytest.raises(ShapeError, match="one dtype, found torch.bfloat16 and torch.float32"):
        Sequences(look_at(cell), torch.zeros(6, 3), weights, states, [torch.zeros(6, 4).bfloat16()] * 2)

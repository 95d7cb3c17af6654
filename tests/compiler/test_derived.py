"""Weights that a step makes of its weights: computed once in a call, with their gradients."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same
from torch import tanh
from torch.nn import functional as F

from gateflow import Recurrent
from gateflow.cells import Cell
from gateflow.compiler.capture import capture
from gateflow.errors import ReferencePathWarning, UnsupportedStepError
from gateflow.recurrence import explain


class Antisymmetric(Cell):
    """Chang et al. (2019): eigenvalues of the step's Jacobian near 1."""

    states, inputs, matrices = ("h",), ("content",), ("own",)

    def step(self, x, h):
        W = self.weight_own
        return h + 0.1 * tanh(h @ (W - W.T - 0.02 * torch.diag(W.diagonal())).T + self.content(x))


class Linear(Cell):
    states, inputs, matrices, diagonals = ("h",), ("content",), ("own",), ("shift",)

    def step(self, x, h):
        W = self.weight_own
        a = F.linear(h, W.triu(1) * 0.5, self.shift)
        b = torch.matmul(h, torch.cat((W[:2], W[2:] * 2.0)))
        return tanh(a + b + self.content(x))


class OfTheGates(Cell):
    """Of the fused weights, and used by its gate too."""

    states, gates = ("h",), ("a", "b")

    def step(self, x, h):
        first, second = self.weight_hh[: self.hidden_size], self.weight_hh[self.hidden_size :]
        return tanh(self.a(h, x) + torch.sigmoid(self.b(h, x)) * torch.mm(h, (first + second) / 2))


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"lengths": [5, 0, 3, 2]}, {"memory": "lean"}], ids=str)
@pytest.mark.parametrize("cell", [Antisymmetric, Linear, OfTheGates])
def test_they_are_the_reference(cell, options):
    torch.manual_seed(0)
    case = Case(tuple(cell(3, 6, dtype=torch.float64) for _ in range(2)), 5, 4, **options)
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))


@needs_compiler
def test_a_stream_a_second_derivative_and_bfloat16_have_them():
    torch.manual_seed(0)
    layer, x = Recurrent(Antisymmetric, 3, 6), torch.randn(4, 2, 3)
    assert explain(layer).rows[0][1].path == "native"
    y, _ = layer(x)
    state = None
    with torch.no_grad():
        for x_t in x:
            y_t, state = layer.step(x_t, state)
    torch.testing.assert_close(y_t, y[-1])
    weight = layer.weight_own_l0
    (first,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    assert torch.isfinite(torch.autograd.grad(first.sum(), weight)[0]).all()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(x)[0].float(), y, atol=0.05, rtol=0.05)


@needs_compiler
def test_an_exported_program_computes_them():
    torch.manual_seed(0)
    layer, x = Recurrent(Antisymmetric, 3, 6), torch.randn(4, 2, 3)
    program = torch.export.export(layer, (x,)).module()
    with torch.no_grad():
        layer.weight_own_l0.mul_(1.0)
    torch.testing.assert_close(program(x)[0], layer(x)[0])


@needs_compiler
def test_changed_weights_are_seen():
    torch.manual_seed(0)
    layer, x = Recurrent(Antisymmetric, 3, 6), torch.randn(4, 2, 3)
    before = layer(x)[0]
    layer.weight_own_l0.data.mul_(3.0)
    after = layer(x)[0]
    assert not torch.allclose(before, after)
    other = Recurrent(Antisymmetric, 3, 6)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x)[0], after)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("return tanh(h * self.weight_own[0]) + self.content(x)", "used otherwise than by its gate"),
        ("return tanh(h * self.weight_own.sum()) + self.content(x)", "used otherwise than by its gate"),
        ("self.weight_own.mul_(1.0); return tanh(h) + self.content(x) + self.own(h)", "in place"),
        ("return tanh(h @ (self.weight_own * torch.eye(4))) + self.content(x)", "a value of type Tensor"),
        ("return tanh(h) + self.content(x) if self.weight_own.sum() > 1e9 else self.own(h)", "depends on a weight"),
    ],
)
def test_what_is_no_matrix_of_a_product_is_refused_with_its_line(line, found):
    scope = {"Cell": Cell, "tanh": tanh, "torch": torch, "__name__": __name__}
    text = "class Made(Cell):\n    states, inputs, matrices = ('h',), ('content',), ('own',)\n"
    exec(f"{text}    def step(self, x, h):\n        {line}\n", scope)
    cell = scope["Made"].__new__(scope["Made"])
    Cell.__init__(cell, 3, 4)
    with pytest.raises(UnsupportedStepError, match=found):
        capture(cell)


@needs_compiler
def test_under_torch_compile_it_is_the_loop_and_says_so():
    layer, x = Recurrent(Antisymmetric, 3, 6), torch.randn(4, 2, 3)
    wanted = layer(x)[0]
    with pytest.warns(ReferencePathWarning, match=r"under torch\.compile"):
        found = torch.compile(layer, backend="eager")(x)[0]
    torch.testing.assert_close(found, wanted)


class Freezing(Cell):
    states, gates, matrices = ("h",), ("content",), ("own",)
    freeze = False

    def step(self, x, h):
        with torch.set_grad_enabled(not self.freeze):
            made = self.weight_own - self.weight_own.T
        return tanh(self.content(h, x) + h @ made)


@needs_compiler
def test_gradients_that_are_cut_on_the_way_stay_cut():
    layer, x = Recurrent(Freezing, 3, 6), torch.randn(4, 2, 3)
    layer(x)[0].sum().backward()
    assert layer.weight_own_l0.grad is not None
    layer.zero_grad()
    layer.cells[0].freeze = True
    with pytest.warns(ReferencePathWarning, match="a change of gradient mode"):
        layer(x)[0].sum().backward()
    assert layer.weight_own_l0.grad is None


class OwnMatrix(Cell):
    """A matrix that is declared by its shape alone."""

    states, gates = ("h",), ("content",)

    def parameter_shapes(self):
        return super().parameter_shapes() | {"weight_q": (2, self.hidden_size)}

    def step(self, x, h):
        q = F.linear(h, self.weight_q)
        return tanh(self.content(h, x) * q[..., :1]) + q[..., 1:]


@needs_compiler
def test_a_matrix_need_not_be_square():
    torch.manual_seed(0)
    case = Case((OwnMatrix(3, 6, dtype=torch.float64),), 5, 4)
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))

"""Parts of rows, rows side by side, totals, and states, weights and inputs of any size."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same
from torch import exp, sigmoid, tanh
from torch.nn import functional as F

from gateflow import Recurrent
from gateflow.backends.cpu import COSTS
from gateflow.cells import Cell, CfC
from gateflow.compiler import compile_cell, step_named
from gateflow.compiler.compiled_cell import compiled
from gateflow.compiler.look import look_at
from gateflow.errors import ShapeError
from gateflow.recurrence import force_path


class ShiftRegister(Cell):
    """New states are made of parts of the old ones, at other places."""

    states, gates = ("h", "c"), ("a", "b")

    def step(self, x, h, c):
        u, v = tanh(self.a(h, x)), sigmoid(self.b(c, x))
        h = torch.cat((h[..., 2:], u[..., :2]), -1)
        return h, torch.cat((c[..., -1:], c[..., :-1] * v[..., 1:]), -1)


class Halves(Cell):
    """Slices that overlap, of states and of what is computed."""

    states, gates = ("h", "c"), ("a",)

    def step(self, x, h, c):
        p, q = torch.chunk(tanh(self.a(h, x)), 2, -1)
        k, r = c[..., :3], c[..., 3:]
        new = torch.cat((k * p + h[..., 3:6], r + h[..., 1:4] * 0.1), -1)
        return torch.cat((q * k, p * r), -1), new


class Grouped(Cell):
    states, gates = ("h",), ("a", "m")

    def step(self, x, h):
        share = self.m(h, x).unflatten(-1, (3, 2)).softmax(-1).flatten(1)
        w = self.a(h, x).view(-1, 2, 3)
        w = tanh((w - w.mean(-1, keepdim=True)) * 0.8).reshape(-1, 6)
        return w * share + 0.3 * h


class Irregular(Cell):
    """Elapsed time and a mask are columns of the input."""

    states, gates = ("h",), ("a",)

    def step(self, x, h):
        elapsed, seen = x[..., :1], x[..., 1:2]
        h = h * exp(-torch.relu(elapsed))
        new = tanh(self.a(h, x))
        return seen * new + (1 - seen) * h + x[..., 2:].sum(-1, keepdim=True) * x.mean(-1, keepdim=True)


class OfAllSizes(Cell):
    """Parts of the state, vectors and matrices of sizes that are neither the input's nor the units'."""

    states, gates, matrices, diagonals = ("h", "last", "n"), ("a",), ("decay",), ("rate",)

    @property
    def state_sizes(self):
        return {"h": self.hidden_size, "last": self.input_size // 2, "n": 1}

    def parameter_shapes(self):
        D = self.input_size // 2
        return super().parameter_shapes() | {"weight_decay": (self.hidden_size, D), "rate": (D,)}

    def step(self, x, h, last, n):
        value, seen = x.chunk(2, -1)
        last = seen * value + (1 - seen) * last * sigmoid(self.rate)
        h = h * exp(-F.softplus(self.decay(last * n)))
        h = tanh(self.a(h, torch.cat((last, seen), -1)))
        return h, last, n * 0.9 + seen.mean(-1, keepdim=True)


class OfThreeSizes(Cell):
    states, gates, matrices = ("h", "c", "q"), ("g",), ("a", "b")

    @property
    def state_sizes(self):
        return {"h": 2, "c": self.hidden_size, "q": 3}

    def parameter_shapes(self):
        return super().parameter_shapes() | {"weight_a": (2, self.hidden_size), "weight_b": (3, self.hidden_size)}

    def step(self, x, h, c, q):
        c = tanh(self.g(h, x)) + 0.1 * q.sum(-1, keepdim=True)
        return self.a(c), c, tanh(self.b(c)) * q.amax(-1, keepdim=True)


class ProductsOfParts(Cell):
    states, gates = ("h", "c"), ("a",)

    def step(self, x, h, c):
        z = torch.cat((h[..., 3:], c[..., :3]), -1)
        u = tanh(self.a(z, x))
        return u * c.amax(-1, keepdim=True) + z, c * 0.5 + u.norm(dim=-1, keepdim=True) * u[..., 2:3]


CELLS = (ShiftRegister, Halves, Grouped, Irregular, OfAllSizes, OfThreeSizes, ProductsOfParts)


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"memory": "lean"}, {"zoneout": True}, {"lengths": [7, 3, 0, 5, 6]}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_whole_rows_are_the_reference(cell, options):
    torch.manual_seed(0)
    case = Case(tuple(cell(4, 6, dtype=torch.float64) for _ in range(2)), 7, 5, **options)
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))


@needs_compiler
@pytest.mark.parametrize("cell", CELLS)
def test_a_stream_is_the_reference(cell):
    torch.manual_seed(0)
    layer, x = Recurrent(cell, 4, 6), torch.randn(5, 3, 4)
    state = [tuple(torch.randn(3, n) for n in layer.cells[0].state_sizes.values())]
    with torch.no_grad():
        _, (final,) = layer(x, state)
        for x_t in x:
            _, state = layer.step(x_t, state)
    torch.testing.assert_close(state[0], final)


@needs_compiler
@pytest.mark.parametrize("cell", CELLS)
def test_a_name_means_the_same_step(cell):
    step = look_at(cell(4, 6))
    read = step_named(step.name).cell
    assert read.text == step.cell.text == compiled(read.graph, 6, read.weights).text


@needs_compiler
def test_a_kernel_for_other_sizes_is_refused():
    step = look_at(ShiftRegister(4, 6))
    other = compiled(step.cell.graph, 7, step.cell.weights)
    with pytest.raises(ShapeError, match="cuts rows of 6 numbers, found 7"):
        other.fitting((torch.Size((5, 4)),), {}, [torch.zeros(2, 7)] * 2)


@needs_compiler
@pytest.mark.parametrize(
    "call", ["max(-1, keepdim=True).values", "amax(-1, keepdim=True)", "norm(dim=-1, keepdim=True)"]
)
def test_gradients_where_two_are_equal_are_those_of_torch(call):
    class Tied(Cell):
        states, gates = ("h",), ("g",)

        def step(self, x, h):
            row = torch.relu(self.g(h, x) - 5.0)  # all zero
            return 0.5 * h + eval(f"row.{call}") + row

    torch.manual_seed(0)
    case = Case((Tied(3, 4, dtype=torch.float64),), 3, 2)
    assert_same(case.run("native"), case.run("reference"), 1e-12)


def test_parts_are_loaded_where_they_lie():
    """A slice costs no copy."""
    plan = str(compile_cell(Irregular(4, 6)).programs(COSTS).infer)
    assert "= x[1:]" in plan
    assert "scratch" not in plan.split("pass 1")[1].split("pass 2")[0]


class OneNumber(Cell):
    """A part of the state that is one number, and stays as it is or meets wider rows."""

    states, gates = ("h", "s", "r"), ("content",)

    @property
    def state_sizes(self):
        return {"h": self.hidden_size, "s": 1, "r": 1}

    def step(self, x, h, s, r):
        s = s * 0.5 + x[..., :1]
        return tanh(self.content(h, x) * s * r.sigmoid()), s, r


class OneColumn(Cell):
    """A gate over one column of the input."""

    states, inputs, matrices = ("h",), ("all",), ("first",)

    def parameter_shapes(self):
        return super().parameter_shapes() | {"weight_first": (self.hidden_size, 1)}

    def step(self, x, h):
        return tanh(self.all(x) + self.first(x[..., 1:2]) + 0.5 * self.first(h[..., -1:]))


class OneRow(Cell):
    """Matrices of one row give a number, which scales rows and is multiplied again."""

    states, gates, matrices, diagonals = ("h", "s"), ("all",), ("score", "spread"), ("shift",)

    @property
    def state_sizes(self):
        return {"h": self.hidden_size, "s": 1}

    def parameter_shapes(self):
        H = self.hidden_size
        return super().parameter_shapes() | {"weight_score": (1, H), "weight_spread": (H, 1), "shift": (1,)}

    def step(self, x, h, s):
        score = self.score(h) - torch.sigmoid(self.shift)
        other = F.linear(h, self.weight_score * 0.5, self.shift)
        h = tanh(self.all(h * score, x) + self.spread(other)) * sigmoid(score)
        return h + 0.1 * other, 0.5 * s + score * other


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"memory": "lean"}, {"lengths": [4, 0, 2]}], ids=str)
@pytest.mark.parametrize("cell", [OneNumber, OneColumn, OneRow])
def test_numbers_of_a_row_are_the_reference(cell, options):
    torch.manual_seed(0)
    case = Case(tuple(cell(3, 6, dtype=torch.float64) for _ in range(2)), 4, 3, **options)
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))


@needs_compiler
def test_cells_with_elapsed_time_have_one_input_too():
    torch.manual_seed(0)
    case = Case((CfC(1, 5, dtype=torch.float64),), 4, 3)
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))


@needs_compiler
@pytest.mark.parametrize(
    "call",
    [
        *("max(-1, keepdim=True)[0]", "amax(-1, keepdim=True)", "min(-1, keepdim=True)[0]"),
        *("norm(float('inf'), -1, True)", "norm(1, -1, True)", "norm(2, -1, True)", "logsumexp(-1, keepdim=True)"),
    ],
)
@pytest.mark.parametrize("strange", [[torch.nan, 0.5, 2.0], [torch.inf, 1e16, 2.0], [-torch.inf, -1e16, 2.0]], ids=str)
def test_the_gradient_of_a_row_with_nan_or_infinity_is_that_of_torch(call, strange):
    class Extreme(Cell):
        states, inputs = ("h",), ("u",)

        def step(self, x, h):
            return 0.0 * h + self.u(torch.ones_like(x)) * eval(f"x.{call}")

    torch.manual_seed(0)
    layer, x = Recurrent(Extreme, 3, 4, dtype=torch.float64), torch.randn(2, 2, 3, dtype=torch.float64)
    x[0, 1] = torch.tensor(strange)
    found = []
    for path in ("native", "reference"):
        leaf = x.clone().requires_grad_()
        with force_path(path):
            layer(leaf)[0].nan_to_num().sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(*found, equal_nan=True)

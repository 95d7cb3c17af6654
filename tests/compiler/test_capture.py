"""What a step may be called and made of, and how the rest is refused: by name, file and line."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same
from torch import sigmoid, tanh

from gateflow import Cell, Recurrent
from gateflow.cells import LSTM
from gateflow.compiler import compile_cell, look_at
from gateflow.compiler.capture import capture
from gateflow.errors import UnsupportedStepError

I, H = 3, 4


def cell_of(body, states=("h",), **declared):
    """A cell whose step is this text."""
    lines = [f"    {k} = {v!r}" for k, v in {"states": states, "gates": ("g",), **declared}.items()]
    text = "\n".join(["class Made(Cell):", *lines, f"    def step(self, x, {', '.join(states)}):", f"        {body}"])
    scope = {"Cell": Cell, "torch": torch, "sigmoid": sigmoid, "tanh": tanh, "mean": mean, "__name__": __name__}
    exec(compile(text, "made.py", "exec"), scope)
    return scope["Made"]


def mean(row):
    return row.mean(-1, keepdim=True)


# Names of the emitted code, of C++, and of the rows of a plan.
STATES = ("m", "n", "j", "T", "V", "sum", "rows", "output", "scratch")
VECTORS = ("int", "saved", "number", "hoisted", "delta", "operand", "d_x", "d_output", "hold_h", "the_output")


@needs_compiler
def test_any_name_will_do():
    new = [f"tanh(self.{v} * {s})" for s, v in zip(STATES, VECTORS, strict=False)]
    body = f"return {', '.join([*new[:-1], new[-1] + ' + self.the_output * tanh(self.g(m, x))'])}"
    cell = cell_of(body, states=STATES, diagonals=VECTORS)(I, H, dtype=torch.float64)
    case = Case((cell,), 3, 2)
    assert_same(case.run("native"), case.run("reference"), 1e-11)


@needs_compiler
def test_any_weight_may_meet_any_row():
    body = "return tanh(self.g(x, x) + self.k.input(h) + self.w(x) * self.k.recurrent(sigmoid(h)))"
    cell = cell_of(body, gates=("g", "k"), matrices=("w",))(H, H, dtype=torch.float64)
    case = Case((cell,), 5, 3, [2, 5, 0])
    assert_same(case.run("native"), case.run("reference"), 1e-11)


@needs_compiler
@pytest.mark.parametrize("size", [1, 5])
def test_a_mean_may_be_all_that_matters(size):
    body = "return tanh(self.g(h, x) * mean(x)) - mean(self.w(c)), c - mean(h)"
    cell = cell_of(body, states=("h", "c"), matrices=("w",))(size, size, dtype=torch.float64)
    case = Case((cell,), 4, 3, [4, 0, 2])
    assert_same(case.run("native"), case.run("reference"), 1e-11)


def test_attributes_are_part_of_the_equations():
    class Rated(Cell):
        states, gates = ("h",), ("g",)

        def __init__(self, *sizes, rates, **options):
            self.__dict__["rates"] = rates
            super().__init__(*sizes, **options)

        def step(self, x, h):
            return self.rates[0] * tanh(self.g(h, x))

    for rates in ([0.3], [0.25], (0.125, [1])):
        step = look_at(Rated(I, H, rates=rates))
        assert step.numbers == (rates[0],)
        assert "number_0 * tanh" in str(step.cell.graph)


def test_cells_of_the_same_equations_share_a_kernel():
    assert compile_cell(LSTM(I, H)) is compile_cell(LSTM(I, H))
    assert compile_cell(LSTM(I, H)) is not compile_cell(LSTM(I, H, bias=False))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("return torch.cumsum(self.g(h, x), -1)", "`cumsum`"),
        ("return self.g(h, x).flip(-1)", "`flip`"),
        ("return tanh(self.g(h, x)) @ torch.eye(4)", "a tensor made outside"),
        ("return tanh(self.g(h, x)) if h.sum() > 0 else self.g(h, x)", "control flow"),
        ("return h.mean() * tanh(self.g(h, x))", "`mean`"),
        ("return h.sum(-1).unsqueeze(-1) * tanh(self.g(h, x))", "`sum`"),
        ("return h[..., 0].unsqueeze(-1) * tanh(self.g(h, x))", "`getitem`"),
        ("return h.max(-1, keepdim=True).indices * tanh(self.g(h, x))", "the places of the largest"),
        ("return torch.cat(h.split(2, -1), -1) * tanh(self.g(h, x))", "use chunk"),
        ("return tanh(self.g(h, x)) * ((h > 0) + (h > 1))", "`add`"),
        ("return torch.atan(self.g(h, x))", "`atan`"),
        ("return torch.nn.functional.softplus(self.g(h, x), threshold=2)", "`softplus`"),
        ("return torch.clamp(self.g(h, x), min=h)", "`clamp`"),
        ("return float(h[0, 0]) * self.g(h, x)", "."),
    ],
)
def test_what_is_not_known_is_refused_with_its_line(body, found):
    with pytest.raises(UnsupportedStepError) as refusal:
        capture(cell_of(body)(I, H))
    told = str(refusal.value)
    assert told.startswith("Made cannot be compiled: found ")
    assert found in told
    assert "made.py, line 5" in told
    assert "which `gateflow explain --operations` lists" in told


def test_a_refused_step_shows_the_users_line():
    class Unknown(Cell):
        states, gates = ("h",), ("g",)

        def step(self, x, h):
            return torch.i0(self.g(h, x))

    with pytest.raises(UnsupportedStepError, match=r"`i0` at .*test_capture.py, line \d+: return torch.i0\(self.g"):
        capture(Unknown(I, H))
    layer = Recurrent(Unknown, I, H)
    with pytest.warns(UserWarning, match="runs on the reference loop, right but slow: Unknown cannot be compiled"):
        layer(torch.zeros(2, 3, I))


TRUTHS = {
    "parts": "(h > 0)[..., :1] + (x > 0)[..., :1]",
    "joined": "torch.cat(((h > 0)[..., :1], (x > 0)[..., :1]), -1)[..., 1:] + (h > 0)[..., :1]",
    "largest": "((h > 0) * (h < 3)).amax(-1, keepdim=True) + (x > 0)[..., :1]",
    "filled": "torch.ones_like(h > 0)[..., :1] + (x > 0)[..., :1]",
    "cut": "(h > 0).detach()[..., :1] + (x > 0)[..., :1]",
}


@pytest.mark.parametrize("form", TRUTHS)
def test_two_truths_have_no_sum(form):
    """torch takes it for `or`; that one and one are one shows in few of the rows on which a step is tried."""
    cell = cell_of(f"return tanh(self.g(h, x)) * ({TRUTHS[form]})")
    assert "found `add" in look_at(cell(I, H)) or "found `ones_like" in look_at(cell(I, H))


@pytest.mark.parametrize("product", ["a * b", "b * a"])
def test_groups_that_torch_repeats_are_for_the_loop(product):
    body = f"a, b = self.g(h, x).view(-1, 2, 2), h[..., :2].view(-1, 1, 2); return tanh({product}).flatten(1)"
    assert "found `mul` with these arguments" in look_at(cell_of(body)(I, H)) or "found `mul` at" in look_at(
        cell_of(body)(I, H)
    )

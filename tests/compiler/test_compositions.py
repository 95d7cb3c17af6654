"""Every function of a step is torch's: values, gradients, kinks, limits; the captured graph and the kernel."""

import math

import pytest
import torch
from tests.compiler.random_cell import cell_class
from tests.oracle import needs_compiler
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow import Cell, Recurrent
from gateflow.compiler import look_at
from gateflow.compiler.naming import graph_and_weights, text_of
from gateflow.errors import CellError
from gateflow.recurrence import explain

H = 16
SCOPE = {"torch": torch, "F": F}
KINKS = [-6.0, -3.0, -1.0, -0.5, -0.2, -0.0, 0.0, 0.1, 0.2, 0.5, 1.0, 3.0, 6.0, 20.0, -20.0, 1e-4]
# Of one row and numbers: every way to call it that a step may use.
UNARY = [
    *("torch.sin(a)", "a.sin()", "a.cos()", "torch.erf(a)", "a.erf()", "torch.special.erf(a)", "a.erfc()"),
    *("torch.special.ndtr(a)", "torch.special.expit(a)", "a.expm1()", "torch.special.log1p(a.abs())", "torch.exp2(a)"),
    *("a ** 1", "a ** 2", "a ** 3", "a ** 4", "a ** 5", "a ** 0", "a ** -2", "a ** -3", "a.pow(-1)", "torch.pow(a, 7)"),
    *(
        "a.abs() ** 0.5",
        "a.abs() ** -0.5",
        "a.abs() ** 1.7",
        "a.abs().pow(-0.3)",
        "torch.pow(2, a)",
        "0.5 ** a",
        "0 ** a",
    ),
    *("F.gelu(a)", "F.gelu(a, approximate='tanh')", "F.silu(a)", "F.mish(a)", "F.elu(a)", "F.elu(a, 0.3)", "F.selu(a)"),
    *("torch.selu(a)", "F.celu(a)", "torch.celu(a, 0.5)", "F.leaky_relu(a)", "F.leaky_relu(a, 0.2)", "F.relu6(a)"),
    *("F.hardtanh(a)", "F.hardtanh(a, -3, 0.5)", "F.hardtanh(a, min_val=-0.2, max_val=6.0)", "F.hardsigmoid(a)"),
    *(
        "F.hardswish(a)",
        "F.logsigmoid(a)",
        "F.softsign(a)",
        "F.tanhshrink(a)",
        "F.softshrink(a)",
        "F.softshrink(a, 0.2)",
    ),
    *("F.hardshrink(a)", "a.hardshrink(0.2)", "torch.hardshrink(a)", "F.threshold(a, 0.1, 3.0)", "F.softplus(a, 2.0)"),
    *("a.log2()", "torch.remainder(a, 0.7)", "a % 3", "a.remainder(-0.3)"),
]
BINARY = [
    *("torch.lerp(a, b, 0.3)", "a.lerp(b, 0.9)", "a.lerp(b, torch.sigmoid(c))", "torch.lerp(a, b, weight=c)"),
    *("torch.addcmul(a, b, c)", "a.addcmul(b, c, value=-0.3)", "torch.addcdiv(a, b, c)", "a.addcdiv(b, c, value=2)"),
    *("a.abs() ** b", "torch.pow(a.abs(), b)", "torch.remainder(a, b)", "a.abs().pow(1 + b)"),
]
MODULES = {
    "GELU": nn.GELU(),
    "GELU, tanh": nn.GELU("tanh"),
    "SiLU": nn.SiLU(),
    "Mish": nn.Mish(),
    "ELU": nn.ELU(0.4),
    "SELU": nn.SELU(),
    "CELU": nn.CELU(),
    "LeakyReLU": nn.LeakyReLU(0.3),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "Hardtanh": nn.Hardtanh(-0.3, 0.6),
    "Hardsigmoid": nn.Hardsigmoid(),
    "Hardswish": nn.Hardswish(),
    "LogSigmoid": nn.LogSigmoid(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "Softplus": nn.Softplus(2.0),
    "Softsign": nn.Softsign(),
    "Tanhshrink": nn.Tanhshrink(),
    "Softshrink": nn.Softshrink(0.1),
    "Hardshrink": nn.Hardshrink(0.1),
    "Threshold": nn.Threshold(0.1, -0.4),
    "Identity": nn.Identity(),
    "Sequential": nn.Sequential(nn.GELU(), nn.Tanh()),
}


TOGETHER = 8
"""Forms that one kernel holds, each of rows of its own: a kernel takes two seconds to build."""


def together(forms: list[str]):
    """Parametrizes a test by some forms at a time."""
    groups = [forms[k : k + TOGETHER] for k in range(0, len(forms), TOGETHER)]
    return pytest.mark.parametrize("forms", groups, ids=lambda group: f"{group[0]} to {group[-1]}")


def kernel_of(forms: list[str], width: int = H):
    """A layer whose one step makes each form of states of its own as they are; T = 1 gives all gradients."""
    states = [f"{name}{k}" for k in range(len(forms)) for name in "yabc"]
    new = [
        part
        for k, form in enumerate(forms)
        for part in (f"(lambda a, b, c: {form})(a{k}, b{k}, c{k})", *states[4 * k + 1 : 4 * k + 4])
    ]
    new[0] += " + 0 * self.g(y0, x)"
    text = (
        f"class Formed(Cell):\n    states, gates = {(*states,)}, ('g',)\n    def step(self, x, {', '.join(states)}):\n"
    )
    layer = Recurrent(cell_class(f"{text}        return {', '.join(new)}\n", "Formed"), 3, width, dtype=torch.float64)
    assert explain(layer).rows[0][1].path == "native", explain(layer)
    return layer


def both(forms: list[str], rows: list[Tensor]) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Each form's result and its gradients: of a kernel, and of torch."""
    own = [[row.clone().requires_grad_() for row in rows] for _ in forms]
    layer, start = kernel_of(forms, rows[0].shape[1]), torch.zeros_like(rows[0])
    state = [part for each in own for part in (start, *each)]
    _, (final,) = layer(torch.zeros(1, len(start), 3, dtype=torch.float64), [state])
    wanted = [eval(form, SCOPE, dict(zip("abc", each, strict=True))) for form, each in zip(forms, own, strict=True)]
    slopes, results = torch.linspace(0.5, 1.5, start.numel(), dtype=torch.float64).view_as(start), []
    leaves = [row for each in own for row in each]
    for made in (final[::4], wanted):
        grads = torch.autograd.grad(made, leaves, [slopes] * len(forms), allow_unused=True, materialize_grads=True)
        results.append([[y.detach(), *grads[3 * k : 3 * k + 3]] for k, y in enumerate(made)])
    return results[0], results[1]


def drawn(seed: int) -> list[Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(3, H, generator=made, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("form", UNARY + BINARY)
def test_names_of_cells_hold_it(form):
    """What an exported program is called by."""
    text = "class Formed(Cell):\n    states, gates = ('a', 'b', 'c'), ('g',)\n    def step(self, x, a, b, c):\n"
    text += f"        return torch.tanh({form}) + self.g(a, x), b, c\n"
    step = look_at(cell_class(text, "Formed")(3, 5))
    assert not isinstance(step, str), step
    graph, weights = graph_and_weights(step.cell.text)
    assert text_of(graph, weights) == step.cell.text


def assert_close(found, wanted, form):
    torch.testing.assert_close(
        found, wanted, rtol=1e-10, atol=1e-12, equal_nan=True, msg=lambda told: f"{form}: {told}"
    )


@needs_compiler
@together(UNARY + BINARY)
def test_values_and_gradients_are_those_of_torch(forms):
    rows = drawn(1)
    rows[0] = torch.cat([rows[0], torch.tensor([KINKS], dtype=torch.float64)])
    rows[1:] = [torch.cat([row, row[:1] + 0.5]) for row in rows[1:]]
    for form, *pair in zip(forms, *both(forms, rows), strict=True):
        assert_close(*pair, form)


@needs_compiler
@together(UNARY)
def test_limits_are_those_of_torch(forms):
    """Infinity, NaN and what overflows."""
    ends = torch.tensor([math.inf, -math.inf, math.nan, 800.0, -800.0, 1e200, -1e200, 1e-200]).double()
    rows = [ends[None], *(torch.zeros(1, 8).double(),) * 2]
    for form, found, wanted in zip(forms, *both(forms, rows), strict=True):
        # torch's vector of doubles for gelu gives NaN at infinity, where one double gives infinity.
        keep = slice(1, None) if "gelu" in form else slice(None)
        assert_close(found[0][:, keep], wanted[0][:, keep], form)
        finite = wanted[1].isfinite() & ends.isfinite()
        assert_close(found[1][finite], wanted[1][finite], form)


@needs_compiler
@together([*MODULES])
def test_a_module_that_the_cell_holds_is_what_it_calls(forms):
    states = [f"h{k}" for k in range(len(forms))]
    lines = [f"0.5 * {state} + self.act{k}(self.g({state}, x))" for k, state in enumerate(states)]
    text = f"class Held(Cell):\n    states, gates = {(*states,)}, ('g',)\n    def step(self, x, {', '.join(states)}):\n"
    kind = cell_class(f"{text}        return {', '.join(lines)}\n", "Held")

    def init(self, *sizes, **options):
        super(kind, self).__init__(*sizes, **options)
        for k, name in enumerate(forms):
            setattr(self, f"act{k}", MODULES[name])

    kind.__init__ = init
    torch.manual_seed(0)
    layer = Recurrent(kind, 3, 5, dtype=torch.float64)
    assert explain(layer).rows[0][1].path == "native", explain(layer)
    x, state = torch.randn(4, 2, 3, dtype=torch.float64), tuple(torch.randn(len(forms), 2, 5).double())
    _, (final,) = layer(x, [state])
    for each in x:
        state = layer.cells[0].advance(each, state)
    for name, found, wanted in zip(forms, final, state, strict=True):
        assert_close(found, wanted, name)


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("F.silu(a, inplace=True)", "silu"),
        ("F.elu(a, 1.0, True)", "elu"),
        ("F.relu6(a, inplace=True)", "relu6"),
        ("F.celu(a, 0.6)", "celu"),  # torch's own gradient is 1e-8 beside it
        ("F.softplus(a, 1.0, 3.0)", "softplus"),
        ("a.float_power(2)", "float_power"),
        ("torch.where(a > 0, a, b).clamp_(0.1)", "clamp_"),
    ],
)
def test_what_torch_would_do_otherwise_is_for_the_loop(form, found):
    kind = cell_class(f"class Formed(Cell):\n    states, gates = ('a', 'b'), ('g',)\n    def step(self, x, a, b):\n"
                      f"        a = self.g(a, x)\n        return {form} + 0.1 * a, b\n", "Formed")  # fmt: skip
    told = look_at(kind(3, 5))
    assert isinstance(told, str)
    assert f"found `{found}` at" in told


def test_a_module_with_weights_of_its_own_is_refused_with_the_remedy():
    class Sloped(Cell):
        states, gates = ("h",), ("g",)

        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            self.act = nn.PReLU()

        def step(self, x, h):
            return self.act(self.g(h, x))

    with pytest.raises(CellError, match=r"no modules with weights of their own.*declare gates, .* diagonals"):
        Sloped(3, 5)


@needs_compiler
def test_an_exponent_is_an_argument_of_the_kernel():
    """A schedule needs one kernel; where a power is a product, the exponent is a part of it."""

    class Powered(Cell):
        states, gates = ("h",), ("g",)
        p = 1.7

        def step(self, x, h):
            return torch.tanh(self.g(h, x)).abs() ** self.p

    cell = Powered(3, 5)
    first = look_at(cell)
    cell.p = 2.3
    again = look_at(cell)
    assert (again.numbers, again.cell) == ((2.3,), first.cell)
    cell.p = 2
    x, layer = torch.randn(4, 2, 3), Recurrent(Powered, 3, 5)
    for layer.cells[0].p in (1.7, 2, 2.3, 0.5, 0):
        wanted = layer.cells[0].step(x[0], torch.zeros(2, 5))
        torch.testing.assert_close(layer(x[:1])[0][0], wanted)

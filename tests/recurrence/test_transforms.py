"""What autograd and `torch.func` may ask of a layer: right on the native path, or seen to by the reference."""

import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, distance
from torch.autograd import forward_ad

from gateflow import Recurrent, cells
from gateflow.errors import ShapeError
from gateflow.recurrence import explain, force_path

T, B, I, H = 4, 3, 3, 5
pytestmark = [
    needs_compiler,
    pytest.mark.filterwarnings("ignore::gateflow.errors.ReferencePathWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # within forward-mode derivatives of torch
]


@pytest.fixture(params=["lstm", "full_gru"])
def layer(request):
    return Recurrent(request.param, I, H, dtype=torch.float64)


def x():
    return torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def on_both(function):
    """The same call as it comes and on the reference."""
    found = function()
    with force_path("reference"):
        wanted = function()
    return found, wanted


TRANSFORMS = {
    "grad": lambda f: torch.func.grad(lambda v: f(v).square().sum())(x()),
    "jacrev": lambda f: torch.func.jacrev(lambda v: f(v).sum(-1))(x()),
    "jvp": lambda f: torch.func.jvp(f, (x(),), (torch.ones(T, B, I).double(),))[1],
    "vmap": lambda f: torch.func.vmap(f)(torch.stack([x(), 2 * x()])),
    "hessian": lambda f: torch.func.hessian(lambda v: f(v).square().sum())(x()[:2, :1]),
    "vjp": lambda f: torch.func.vjp(f, x())[1](torch.ones(T, B, H).double())[0],
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_take_the_reference(layer, transform):
    paths = []

    def run(v):
        paths.extend(explain(layer).paths)
        return layer(v)[0]

    found, wanted = on_both(lambda: TRANSFORMS[transform](run))
    assert paths[0] == "reference"
    assert distance(found, wanted) < 1e-12
    assert explain(layer).paths == ("native",)


def test_forward_mode_takes_the_reference(layer):
    def run():
        with forward_ad.dual_level():
            y = layer(forward_ad.make_dual(x(), torch.ones(T, B, I).double()))[0]
            return forward_ad.unpack_dual(y).tangent

    found, wanted = on_both(run)
    assert distance(found, wanted) < 1e-12


def test_many_gradients_at_once(layer):
    v, many = x().requires_grad_(), torch.randn(2, T, B, H).double()
    found = torch.autograd.grad(layer(v)[0], v, many, is_grads_batched=True)[0]
    for got, one in zip(found, many, strict=True):
        assert distance(got, torch.autograd.grad(layer(v)[0], v, one)[0]) < 1e-12


def test_backward_in_eval_mode_and_twice(layer):
    v = x().requires_grad_()
    y = layer.eval()(v)[0].square().sum()
    first = torch.autograd.grad(y, [v, *layer.parameters()], retain_graph=True)
    second = torch.autograd.grad(y, [v, *layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["lstm", "full_gru"])
@pytest.mark.parametrize("wanted", ["start", "x", "weight"])
@pytest.mark.parametrize("used", ["output", "final", "last part"])
def test_only_some_gradients_of_only_some_outputs(name, wanted, used):
    case = Case((cells.get(name)(I, H, dtype=torch.float64),), T, B, [4, 0, 2])
    inputs = {what: t for what, t in case.inputs().items() if wanted in what}
    for what, tensor in case.inputs().items():
        tensor.requires_grad_(what in inputs)

    def run():
        outputs = case.outputs("native")
        chosen = [y for what, y in outputs.items() if used in what] or [list(outputs.values())[-1]]
        return torch.autograd.grad([y.square().sum() for y in chosen], list(inputs.values()), allow_unused=True)

    found = run()
    case.outputs, plain = lambda _: Case.outputs(case, "reference"), case.outputs
    for a, b in zip(found, run(), strict=True):
        assert distance(torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b) < 1e-12
    case.outputs = plain


@pytest.mark.parametrize("name", ["lstm", "full_gru"])
def test_autocast_rounds_the_factors_of_products_alone(name):
    layer, v = Recurrent(name, I, H), x().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(v)[0]
        found_gradients = torch.autograd.grad(found.sum(), list(layer.parameters()))
    wanted = layer(v)[0]
    assert found.dtype == torch.float32
    assert 0 < distance(found, wanted) < 0.02
    for a, b in zip(found_gradients, torch.autograd.grad(wanted.sum(), list(layer.parameters())), strict=True):
        assert a.dtype == torch.float32
        assert distance(a, b) < 0.03


LAYOUTS = {
    "weights by column": lambda w: w.t().contiguous().t() if w.dim() == 2 else w,
    "every second number": lambda w: w.repeat_interleave(2, -1)[..., ::2],
    "one bias for all": lambda w: w if w.dim() == 2 else w[:1].expand_as(w),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_may_lie_in_memory_as_they_like(layer, layout):
    weights = {n: LAYOUTS[layout](w.detach()).requires_grad_() for n, w in layer.named_parameters()}

    def run():
        y = torch.func.functional_call(layer, weights, (x(),))[0]
        return [y, *torch.autograd.grad(y.sum(), list(weights.values()))]

    for a, b in zip(*on_both(run), strict=True):
        assert distance(a, b) < 1e-12


def test_so_may_the_input():
    class Direct(cells.Elman):
        def step(self, x, h):
            return super().step(x, h) + x

    layer = Recurrent(Direct, I, I, dtype=torch.float64)
    for v in (x().permute(2, 0, 1).contiguous().permute(1, 2, 0), x()[:, :1].expand(T, B, I), x()[..., [0] * I]):
        found, wanted = on_both(lambda v=v: layer(v)[0])
        assert distance(found, wanted) < 1e-12


def test_mixed_dtypes_are_refused(layer):
    with pytest.raises(ShapeError, match="must be of one dtype, found float32 and float64"):
        layer(x().float())

"""A kernel belongs to what a step computes: whatever a step reads may change, and the native path changes with it."""

import contextvars
import dataclasses
import enum
import functools
import os
import random
import threading
import types

import numpy as np
import pytest
import torch
from tests.oracle import needs_compiler
from torch import nn
from torch.nn import functional as F

from gateflow import Cell, Recurrent
from gateflow.backends.cpu import kernel
from gateflow.compiler import compile_cell, look_at
from gateflow.errors import ReferencePathWarning
from gateflow.recurrence import explain, force_path

I, H = 3, 5
pytestmark = needs_compiler


class Kind(enum.Enum):
    SLOW = 0.25
    FAST = 0.75


class Level(enum.IntEnum):
    LOW = 3
    HIGH = 7


@dataclasses.dataclass
class Settings:
    rate: float
    inner: types.SimpleNamespace = dataclasses.field(default_factory=lambda: types.SimpleNamespace(power=1))


RATE = 0.3
SHARED = [0.3, {"deep": [0.2]}]
SETTING = contextvars.ContextVar("setting", default=0.3)


def squash(row):
    return torch.tanh(row)


def plain(cell, x, h):
    return squash(cell.g(h, x))


class Reads(Cell):
    """A step that hands all to a function of the test's own."""

    states, gates = ("h",), ("g",)
    rule = staticmethod(plain)
    rate = 0.3

    def __init__(self, *sizes, held=None, module=None, **options):
        super().__init__(*sizes, **options)
        self.__dict__["held"] = held
        self.drop = module

    def step(self, x, h):
        return type(self).rule(self, x, h)

    def helper(self, row):
        return torch.tanh(row)


def fresh(rule, held=None):
    """A class of its own for each test, and a layer of it."""
    kind = type("Fresh", (Reads,), {"rule": staticmethod(rule)})
    torch.manual_seed(0)
    return kind, Recurrent(functools.partial(kind, held=held), I, H, dtype=torch.float64)


def outcome(layer, path):
    """Outputs, final states and the gradients of everything, on one path."""
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(6, 2, I, generator=chance, dtype=torch.float64, requires_grad=True)
    start = torch.randn(2, H, generator=chance, dtype=torch.float64, requires_grad=True)
    with force_path(path):
        y, ((final,),) = layer(x, [(start,)])
    cotangent = torch.randn(y.shape, generator=chance, dtype=torch.float64)
    gradients = torch.autograd.grad((y * cotangent).sum() + final.sum(), [x, start, *layer.parameters()])
    with torch.no_grad(), force_path(path):
        inferred, _ = layer(x, [(start,)])
    return [y.detach(), inferred, *gradients]


def inferred(layer, path):
    """The outputs alone: of all that a step may read, each needs one kernel and not three."""
    x = torch.randn(6, 2, I, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad(), force_path(path):
        return layer(x)[0]


def assert_native_is_right(layer):
    for ours, wanted in zip(outcome(layer, "native"), outcome(layer, "reference"), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)


def by_attribute(cell, x, h):
    return (1 - cell.held) * h + cell.held * torch.tanh(cell.g(h, x))


def set_held(layer, value):
    layer.cells[0].held = value


READS = {
    "a function held": (lambda c, x, h: c.held(c.g(h, x)), torch.tanh, lambda k, layer: set_held(layer, torch.relu)),
    "a closure": (
        lambda c, x, h: c.held()(c.g(h, x)),
        lambda: torch.tanh,
        lambda k, la: set_held(la, lambda: torch.relu),
    ),
    "a partial": (
        lambda c, x, h: c.held(c.g(h, x)),
        functools.partial(torch.clamp, min=-0.1),
        lambda k, layer: set_held(layer, functools.partial(torch.clamp, min=-0.2)),
    ),
    "a module": (lambda c, x, h: c.held(c.g(h, x)), nn.Tanh(), lambda k, layer: set_held(layer, nn.ReLU())),
    "a namespace": (
        lambda c, x, h: c.held.rate * torch.tanh(c.g(h, x)) + h * 0.1,
        types.SimpleNamespace(rate=0.3),
        lambda k, layer: setattr(layer.cells[0].held, "rate", 0.9),
    ),
    "inside of a dataclass": (
        lambda c, x, h: (
            c.held.rate * torch.tanh(c.g(h, x)) ** c.held.inner.power
            if c.held.inner.power != 1
            else h * 0.5 + c.g(h, x)
        ),
        Settings(0.3),
        lambda k, layer: setattr(layer.cells[0].held.inner, "power", 2),
    ),
    "an enum": (
        lambda c, x, h: c.held.value * torch.tanh(c.g(h, x)),
        Kind.SLOW,
        lambda k, layer: set_held(layer, Kind.FAST),
    ),
    "an enum of integers": (
        lambda c, x, h: torch.tanh(c.g(h, x) * c.held),
        Level.LOW,
        lambda k, layer: set_held(layer, Level.HIGH),
    ),
    "a number of numpy": (by_attribute, np.float32(0.25), lambda k, layer: set_held(layer, np.float64(0.75))),
    "an entry of a list": (
        lambda c, x, h: c.held[0] * torch.tanh(c.g(h, x)),
        [0.3],
        lambda k, layer: layer.cells[0].held.__setitem__(0, 0.8),
    ),
    "a global": (
        lambda c, x, h: RATE * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: globals().__setitem__("RATE", 0.8),
    ),
    "deep inside of a global": (
        lambda c, x, h: SHARED[1]["deep"][0] * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: SHARED[1]["deep"].__setitem__(0, 0.9),
    ),
    "a helper that is replaced": (
        lambda c, x, h: squash(c.g(h, x)),
        None,
        lambda k, layer: globals().__setitem__("squash", torch.relu),
    ),
    "a method that is replaced": (
        lambda c, x, h: c.helper(c.g(h, x)),
        None,
        lambda k, layer: setattr(k, "helper", lambda self, row: torch.sigmoid(row)),
    ),
    "a class attribute": (
        lambda c, x, h: c.rate * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: setattr(k, "rate", 0.6),
    ),
    "a property": (
        lambda c, x, h: c.speed * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: setattr(k, "speed", property(lambda self: 0.7)),
    ),
    "the step itself": (
        plain,
        None,
        lambda k, layer: setattr(k, "step", lambda self, x, h: torch.sigmoid(self.g(h, x))),
    ),
    "the environment": (
        lambda c, x, h: float(os.environ.get("GATEFLOW_TEST_RATE", "0.3")) * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: os.environ.__setitem__("GATEFLOW_TEST_RATE", "0.9"),
    ),
    "a context variable": (
        lambda c, x, h: SETTING.get() * torch.tanh(c.g(h, x)),
        None,
        lambda k, layer: SETTING.set(0.9),
    ),
    "a branch on text": (
        lambda c, x, h: torch.tanh(c.g(h, x)) if c.held == "tanh" else torch.relu(c.g(h, x)),
        "tanh",
        lambda k, layer: set_held(layer, "relu"),
    ),
    "how often something is done": (
        lambda c, x, h: functools.reduce(lambda row, _: torch.tanh(row), range(c.held), c.g(h, x)),
        1,
        lambda k, layer: set_held(layer, 3),
    ),
    "an exponent": (lambda c, x, h: torch.tanh(c.g(h, x)) ** c.held, 2, lambda k, layer: set_held(layer, -1)),
    "the mode": (
        lambda c, x, h: torch.tanh(c.g(h, x)) * (1.0 if c.training else 0.4),
        None,
        lambda k, layer: layer.eval(),
    ),
    "a number that becomes 1": (by_attribute, 0.5, lambda k, layer: set_held(layer, 1.0)),
    "a zero that becomes -0": (
        lambda c, x, h: torch.tanh(c.g(h, x)) + torch.where(1.0 / (c.held * torch.sigmoid(h)) > 0, h, -h),
        0.0,
        lambda k, layer: set_held(layer, -0.0),
    ),
    "a number that becomes NaN": (
        lambda c, x, h: torch.where(h > 9, c.held, torch.tanh(c.g(h, x))),
        0.0,
        lambda k, layer: set_held(layer, float("nan")),
    ),
}


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.delenv("GATEFLOW_TEST_RATE", raising=False)
    held, token = (RATE, squash, SHARED[1]["deep"][0]), SETTING.set(0.3)
    Reads.speed = property(lambda self: 0.2)
    yield
    globals().update(RATE=held[0], squash=held[1])
    SHARED[1]["deep"][0] = held[2]
    SETTING.reset(token)
    os.environ.pop("GATEFLOW_TEST_RATE", None)


@pytest.mark.parametrize("name", READS)
def test_what_a_step_reads_may_change(name):
    rule, held, change = READS[name]
    kind, layer = fresh(rule, held)
    before = inferred(layer, "native")
    torch.testing.assert_close(before, inferred(layer, "reference"), rtol=1e-10, atol=1e-12)
    change(kind, layer)
    after = inferred(layer, "native")
    torch.testing.assert_close(after, inferred(layer, "reference"), rtol=1e-10, atol=1e-12)
    if "NaN" not in name:
        assert not torch.equal(before, after), "the change makes no difference"


@pytest.mark.parametrize("name", ["a global", "inside of a dataclass", "a number that becomes NaN"])
def test_what_a_step_reads_may_change_between_trainings(name):
    """The same of gradients, and of kernels for them."""
    rule, held, change = READS[name]
    kind, layer = fresh(rule, held)
    assert_native_is_right(layer)
    change(kind, layer)
    assert_native_is_right(layer)


@pytest.mark.parametrize("name", ["a function held", "inside of a dataclass", "a global", "a class attribute"])
def test_what_a_compiled_step_reads_may_change(name):
    rule, held, change = READS[name]
    kind, layer = fresh(rule, held)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    run = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        with force_path("reference"):
            wanted = layer(x)[0]
        torch.testing.assert_close(run(x)[0], wanted, rtol=1e-10, atol=1e-12)
        change(kind, layer)
    torch._dynamo.reset()


def test_two_cells_of_one_class_are_two_steps():
    """In one process, one after the other and side by side, as two layers of one stack."""
    kind, _ = fresh(lambda c, x, h: c.held(c.g(h, x)), torch.tanh)
    cells = [functools.partial(kind, held=f) for f in (torch.tanh, torch.relu)]
    layer = Recurrent(cells, I, H, dtype=torch.float64)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with force_path("reference"):
        wanted = layer(x)[0]
    with force_path("native"):
        torch.testing.assert_close(layer(x)[0], wanted)


def test_the_directions_of_a_layer_may_differ():
    kind, _ = fresh(lambda c, x, h: c.held(c.g(h, x)), torch.tanh)
    layer = Recurrent(functools.partial(kind, held=torch.tanh), I, H, bidirectional=True, dtype=torch.float64)
    layer.cells[1].held = torch.sigmoid
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with force_path("reference"):
        wanted = layer(x)[0]
    with force_path("native"):
        torch.testing.assert_close(layer(x)[0], wanted)


def test_a_tensor_that_is_no_weight_is_for_the_loop():
    _, layer = fresh(lambda c, x, h: torch.tanh(c.g(h, x)) * c.held, torch.linspace(0, 1, H, dtype=torch.float64))
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with pytest.warns(ReferencePathWarning, match="a tensor made outside of the step's arguments"):
        before = layer(x)[0]
    layer.cells[0].held = torch.ones(H, dtype=torch.float64)
    assert not torch.equal(layer(x)[0], before)


def rarely(cell, x, h):
    return torch.tanh(cell.g(h, x)) * (5.0 if random.random() < 0.001 else 0.5)


def by_numpy(cell, x, h):
    return torch.tanh(cell.g(h, x)) * (5.0 if np.random.rand() < 0.001 else 0.5)


class Straight(torch.autograd.Function):
    """The gradient of the identity, whatever the forward pass computes."""

    @staticmethod
    def forward(ctx, row):
        return torch.relu(row)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def without_gradient(cell, x, h):
    with torch.no_grad():
        u = torch.sigmoid(cell.g(h, x))
    return u * torch.tanh(cell.g(h, x))


def under_autocast(cell, x, h):
    with torch.autocast("cpu", torch.bfloat16):
        u = torch.sigmoid(cell.g(h, x))
    return torch.tanh(cell.g(h, x)) * u


def asks_for_a_shape(cell, x, h):
    return torch.tanh(cell.g(h, x)) * (0.3 if hasattr(h, "shape") else 0.9)


def catches(cell, x, h):
    try:
        factor = h.shape[-1] * 0.1
    except TypeError:
        factor = 0.9
    return torch.tanh(cell.g(h, x)) * factor


def uses_its_weights(cell, x, h):
    return torch.tanh(cell.g(h, x)) * (1 + sum(p.abs().sum() for p in cell.parameters()))


def takes_text_for_a_number(cell, x, h):
    return torch.tanh(cell.g(h, x)) * cell.held


def counter(cell, x, h):
    cell.held["steps"] += 1
    return torch.tanh(cell.g(h, x)) * cell.held["steps"] * 0.1


def keeper(cell, x, h):
    cell.held.append(h)
    return torch.tanh(cell.g(h, x))


def setter(cell, x, h):
    cell.last = h
    return torch.tanh(cell.g(h, x))


@pytest.mark.parametrize(
    ("rule", "held", "why"),
    [
        (lambda c, x, h: torch.tanh(c.g(h, x)) * random.random(), None, "draws random numbers"),
        (lambda c, x, h: torch.tanh(c.g(h, x)) * torch.rand(()).item(), None, "draws random numbers"),
        (rarely, None, "draws random numbers"),
        (by_numpy, None, "draws random numbers"),
        (lambda c, x, h: torch.tanh(Straight.apply(c.g(h, x))), None, "gradient mode"),
        (without_gradient, None, "gradient mode"),
        (under_autocast, None, "gradient mode or autocast"),
        (asks_for_a_shape, None, r"`\.shape` of a row"),
        (catches, None, r"`\.shape` of a row"),
        (uses_its_weights, None, "a weight that is used otherwise"),
        (counter, {"steps": 0}, "something else each time"),
        (keeper, [], "keeps a row of its own"),
        (setter, None, r"sets self\.last"),
        (lambda c, x, h: F.alpha_dropout(torch.tanh(c.g(h, x)), 0.5, c.training), None, "`alpha_dropout`"),
        (lambda c, x, h: torch.tanh(c.g(h, x)) * torch.rand_like(h), None, "`rand_like`"),
    ],
)
def test_a_step_that_does_more_than_compute_is_for_the_loop(rule, held, why):
    _, layer = fresh(rule, held)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with pytest.warns(ReferencePathWarning, match=why):
        layer(x)
    # Told once.
    layer(x)
    layer(x)
    assert explain(layer).paths == ("reference",)


def test_a_counter_counts_every_step():
    """The loop's, and nobody else's: a step with effects is run by nothing else once it is known to have them."""
    _, layer = fresh(counter, {"steps": 0})
    x, held = torch.randn(4, 2, I, dtype=torch.float64), layer.cells[0].held
    with pytest.warns(ReferencePathWarning):
        layer(x)
    before = held["steps"]
    layer(x)
    assert held["steps"] == before + 4


def test_what_a_step_sets_is_kept():
    _, layer = fresh(setter)
    with pytest.warns(ReferencePathWarning):
        y, _ = layer(torch.randn(4, 2, I, dtype=torch.float64))
    torch.testing.assert_close(layer.cells[0].last, y[2])


def test_a_cells_own_dropout_is_on_in_training_and_off_in_evaluation():
    """F.dropout and a module: compiled, whether it drops or not."""
    for held in (None, nn.Dropout(0.5)):
        rule = (lambda c, x, h: torch.tanh(c.g(c.drop(h), x))) if held else dropped
        kind = type("Dropped", (Reads,), {"rule": staticmethod(rule)})
        layer = Recurrent(functools.partial(kind, module=held), I, 32, dtype=torch.float64)
        x = torch.randn(5, 2, I, dtype=torch.float64)
        assert explain(layer).paths == ("native",)
        y, other = layer(x)[0], layer(x)[0]
        assert not torch.equal(y, other)
        layer.eval()
        assert explain(layer).paths == ("native",)
        with force_path("reference"):
            wanted = layer(x)[0]
        torch.testing.assert_close(layer(x)[0], wanted)
        layer.train()
        assert not torch.equal(layer(x)[0], wanted)


def dropped(cell, x, h):
    return torch.tanh(cell.g(F.dropout(h, 0.5, cell.training), x))


def test_a_schedule_needs_one_kernel(monkeypatch):
    """A number that changes before every call is an argument of one kernel, from the first value on."""
    built = []
    monkeypatch.setattr(kernel, "build", lambda text, **flags: built.append(text) or build(text, **flags))
    _, layer = fresh(lambda c, x, h: c.held * h + torch.tanh(c.g(h, x)).clamp(-c.held, c.held) * 0.77, 0.3)
    x = torch.randn(4, 2, I, dtype=torch.float64, requires_grad=True)
    for step in range(12):
        layer.cells[0].held = 0.9**step + 0.01
        y, _ = layer(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        with force_path("reference"):
            wanted, _ = layer(x)
        torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(gradient, torch.autograd.grad(wanted.sum(), x)[0], rtol=1e-12, atol=1e-14)
    assert len(set(built)) == 1  # asked for by the forward and the backward pass
    assert "number" in built[0]


build = kernel.build


def test_a_schedule_that_begins_with_one_needs_two(monkeypatch):
    """`1` is a part of the text at first, so that it costs nothing; once it has changed, it is an argument for good."""
    built = []
    monkeypatch.setattr(kernel, "build", lambda text, **flags: built.append(text) or build(text, **flags))
    _, layer = fresh(lambda c, x, h: c.held * h * 0.3 + torch.tanh(c.g(h, x)) * 0.21, 1)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    for value in (1, 0.9, 0.5, 0.0, 2.0, 1.0, 0.3):
        layer.cells[0].held = value
        with torch.no_grad(), force_path("reference"):
            wanted, _ = layer(x)
        with torch.no_grad():
            torch.testing.assert_close(layer(x)[0], wanted, rtol=1e-12, atol=1e-14)
    assert len(set(built)) == 2


def test_the_gradient_is_that_of_the_numbers_then():
    """A number that changes between forward and backward changes nothing of the latter."""
    _, layer = fresh(by_attribute, 0.3)
    x = torch.randn(4, 2, I, dtype=torch.float64, requires_grad=True)
    y, _ = layer(x)
    with force_path("reference"):
        wanted, _ = layer(x)
    layer.cells[0].held = 0.9
    ours, theirs = (torch.autograd.grad(out.sum(), x)[0] for out in (y, wanted))
    torch.testing.assert_close(ours, theirs)


def test_many_threads_may_look_at_one_step():
    """Each at its own numbers; all threads begin at once, so that they capture it at once."""
    kind, _ = fresh(by_attribute, 0.3)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    layers = [Recurrent(functools.partial(kind, held=0.1 * k + 0.05), I, H, dtype=torch.float64) for k in range(8)]
    wanted, found, together = [], {}, threading.Barrier(8)
    for layer in layers:
        with torch.no_grad(), force_path("reference"):
            wanted.append(layer(x)[0])

    def work(k):
        together.wait()
        with torch.no_grad():
            found[k] = [layers[k](x)[0] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for k, outputs in found.items():
        for y in outputs:
            torch.testing.assert_close(y, wanted[k])
    assert len(found) == 8
    assert len({id(kernel.kernel_of(compile_cell(layer.cells[0]))) for layer in layers}) == 1


def test_a_shipped_cell_is_looked_at_with_a_glance(monkeypatch):
    from gateflow import cells
    from gateflow.compiler import look

    cell = cells.LSTM(I, H)
    first = look_at(cell)
    monkeypatch.setattr(look, "Recording", None)
    assert look_at(cell) == first
    cell.update = torch.tanh  # what is no plain value needs a real look
    with pytest.raises(TypeError):
        look_at(cell)


class Bound(Cell):
    """A cell that decides what its step sees."""

    states, gates = ("h",), ("g",)

    def bind(self):
        return Cell.bind(self.over({n: w * 2 for n, w in self._parameters.items() if w is not None}))

    def step(self, x, h):
        return torch.tanh(self.g(h, x))


def test_a_cell_that_binds_its_weights_itself_is_for_the_loop():
    layer, x = Recurrent(Bound, I, H), torch.randn(4, 2, I)
    with pytest.warns(ReferencePathWarning, match="a bind of its own"):
        y = layer(x)[0]
    with force_path("reference"):
        assert torch.equal(layer(x)[0], y)


def test_a_subclass_of_a_shipped_cell_that_changes_how_it_is_run_is_not_torchs():
    from gateflow import cells
    from gateflow.recurrence.vendor import kernel_of

    class Turned(cells.GRU):
        def advance(self, x, state):
            return super().advance(-x, state)

    class Named(cells.GRU):
        """The same equations."""

    assert kernel_of(Named(I, H)) is torch.gru
    assert kernel_of(Turned(I, H)) is None
    layer = Recurrent(Turned, I, H, dtype=torch.float64)
    assert_native_is_right(layer)


def test_the_reverse_cell_may_come_to_need_the_loop():
    kind, _ = fresh(lambda c, x, h: c.held(c.g(h, x)), torch.tanh)
    layer = Recurrent(functools.partial(kind, held=torch.tanh), I, H, bidirectional=True)
    layer.cells[1].held = torch.i0
    x = torch.randn(4, 2, I)
    with pytest.warns(ReferencePathWarning, match="the cell of the reverse direction"):
        y = layer(x)[0]
    with force_path("reference"):
        torch.testing.assert_close(layer(x)[0], y)


@pytest.mark.parametrize(
    "rule",
    [
        lambda c, x, h: torch.tanh(c.g(h, x)) if isinstance(h, torch.Tensor) else c.g(h, x),
        lambda c, x, h: torch.tanh(c.g(h, x)) if torch.is_tensor(x) else c.g(h, x),
        lambda c, x, h: torch.tanh(c.g(h, x)) * (0.3 if type(h).__name__ == "Tensor" else 0.9),
    ],
)
def test_a_step_that_tells_stand_ins_from_tensors_is_for_the_loop(rule):
    """Found by comparing what was captured with the step itself on random numbers."""
    _, layer = fresh(rule)
    with pytest.warns(ReferencePathWarning, match="something else when it is recorded"):
        layer(torch.randn(4, 2, I, dtype=torch.float64))


def test_a_hook_on_the_backward_pass_is_for_the_loop():
    module = nn.Tanh()
    kind = type("Hooked", (Reads,), {"rule": staticmethod(lambda c, x, h: c.drop(c.g(h, x)))})
    layer = Recurrent(functools.partial(kind, module=module), I, H, dtype=torch.float64)
    assert_native_is_right(layer)
    module.register_full_backward_hook(lambda m, given, taken: (given[0] * 3,))
    with pytest.warns(ReferencePathWarning, match="a hook on a backward pass"):
        layer(torch.randn(4, 2, I, dtype=torch.float64))


def test_a_step_that_asks_for_its_weights_finds_them():
    _, layer = fresh(lambda c, x, h: torch.tanh(c.g(h, x)) * (0.3 if getattr(c, "bias_ih", None) is not None else 0.9))
    assert_native_is_right(layer)
    _, layer = fresh(lambda c, x, h: torch.tanh(c.g(h, x)) * len(list(c.parameters())) * 0.1)
    assert_native_is_right(layer)


@pytest.mark.parametrize("text", ["0.3", "nan"])
def test_text_is_no_number(text):
    _, layer = fresh(lambda c, x, h: torch.tanh(c.g(h, x)) * c.held, 0.3)
    layer.cells[0].held = text
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with pytest.warns(ReferencePathWarning), pytest.raises(TypeError):
        layer(x)


def test_what_a_step_does_without_gradients_is_not_taken_for_what_it_does_with_them():
    """An autograd.Function is its forward function alone while nobody asks for gradients."""
    _, layer = fresh(lambda c, x, h: torch.tanh(Straight.apply(c.g(h, x))))
    x = torch.randn(4, 2, I, dtype=torch.float64, requires_grad=True)
    with torch.no_grad(), force_path("reference"):
        wanted = layer(x)[0]
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], wanted)
    with pytest.warns(ReferencePathWarning, match="gradient mode"):
        (ours,) = torch.autograd.grad(layer(x)[0].sum(), x)
    with force_path("reference"):
        torch.testing.assert_close(ours, torch.autograd.grad(layer(x)[0].sum(), x)[0])


def test_declarations_may_change():
    class Two(Cell):
        states, gates = ("h",), ("g", "k")

        def step(self, x, h):
            return torch.tanh(self.g(h, x)) * torch.sigmoid(self.k(h, x))

    layer = Recurrent(Two, I, H, dtype=torch.float64)
    assert_native_is_right(layer)
    before = outcome(layer, "native")[0]
    Two.gates = ("k", "g")
    assert_native_is_right(layer)
    assert not torch.equal(outcome(layer, "native")[0], before)


def test_a_shipped_step_that_is_replaced_is_not_torchs(monkeypatch):
    from gateflow import cells
    from gateflow.recurrence.vendor import kernel_of

    assert kernel_of(cells.GRU(I, H)) is torch.gru
    cell = cells.LSTM(I, H)
    monkeypatch.setattr(cells.LSTM, "step", lambda self, x, h, c: (h, c))
    assert kernel_of(cell) is None


def test_a_row_may_be_squared_again_and_again():
    _, layer = fresh(lambda c, x, h: functools.reduce(lambda u, _: u * u, range(40), torch.tanh(c.g(h, x))))
    assert_native_is_right(layer)


@pytest.mark.long
def test_a_step_may_be_longer_than_pythons_stack_is_deep():
    _, layer = fresh(lambda c, x, h: functools.reduce(lambda u, _: u + 0.001 * h, range(1500), torch.tanh(c.g(h, x))))
    assert len(look_at(layer.cells[0]).cell.graph.nodes) > 1500


def test_truth_values_with_numbers_are_rounded_as_torch_does():
    """Such rows have torch's default dtype, not the layer's: in float64 they are for the loop."""
    _, layer = fresh(lambda c, x, h: torch.tanh(c.g(h, x)) + (h > 0) * 0.3)
    x = torch.randn(4, 2, I, dtype=torch.float64)
    with pytest.warns(ReferencePathWarning, match="default dtype"):
        layer(x)
    with force_path("reference"):
        wanted = layer(x)[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(layer, backend="aot_eager")(x)[0], wanted, rtol=1e-12, atol=1e-14)
    torch._dynamo.reset()
    assert explain(layer.float()).paths == ("native",)

"""A step is a sequence of one, whatever was prepared for the step before. The judge is the whole sequence."""

import copy
import dataclasses
import itertools
import pickle

import pytest
import torch
from tests.oracle import assert_close, needs_compiler
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrize, prune

from gateflow import Cell, Recurrent
from gateflow.errors import PathError, ShapeError
from gateflow.recurrence import Stream, force_path

T, B, I, H = 5, 3, 4, 7

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def without_gradient():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def whole(layer, *given):
    """A layer called as for a sequence; one of a single step would be streamed as well."""
    with force_path("native"):
        return layer(*given)


def assert_streams(layer, x):
    """Steps give the outputs and the final state of the whole sequence."""
    state, ys = None, []
    for x_t in x:
        y_t, state = layer.step(x_t, state)
        ys.append(y_t)
    y, final = layer(x)
    assert_close(torch.stack(ys), y, "output")
    for found, wanted in zip(itertools.chain(*state), itertools.chain(*final), strict=True):
        assert_close(found, wanted, "state")
    return state


class Unread(Cell):
    """Its output is computed again, so that nobody reads the old one."""

    states = ("h", "c")
    gates = ("content",)

    def step(self, x, h, c):
        c = torch.tanh(self.content(c, x))
        return c * c, c


@pytest.mark.parametrize("cell", ["lstm", "full_gru", "layernorm_lstm", "projected_lstm", "indrnn", Unread])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_the_sequence(cell, dtype, taken):
    for batch, threads in itertools.product((1, B), (1, 2)):
        torch.set_num_threads(threads)
        layer = Recurrent(cell, 40, 70, num_layers=2, skip="residual", learn_initial_state=True, dtype=dtype)
        for name, weight in layer.named_parameters():
            weight.normal_(std=0.3 if "initial" in name else 0.1)
        before = len(taken)
        assert_streams(layer, torch.randn(T, batch, 40, dtype=dtype))
        assert len(taken) - before == 2 * T


def test_an_input_with_gaps_is_read_right():
    batch_first = torch.randn(B, T, I)
    for t in range(T):
        layer = Recurrent("lstm", I, H)
        assert_close(
            layer.step(batch_first[:, t])[0], whole(layer, batch_first[:, t : t + 1].transpose(0, 1))[0][0], "output"
        )


def test_so_is_a_state():
    layer, x = Recurrent("gru", I, H), torch.randn(B, I)
    h = torch.randn(B, 2 * H)[:, ::2]
    assert_close(layer.step(x, [(h,)])[0], whole(layer, x[None], [(h,)])[0][0], "output")


def test_batches_of_all_sizes_take_turns(taken):
    layer = Recurrent("lstm", I, H)
    for batch in (1, 4, 2, 1, 4, 70, 1):
        assert_streams(layer, torch.randn(2, batch, I))
    assert len(taken) == 14


def test_what_is_prepared_serves_every_stream(monkeypatch):
    layer, x, prepared = Recurrent("lstm", I, H), torch.randn(T, B, I), []
    prepare = Stream.prepare
    monkeypatch.setattr(Stream, "prepare", lambda self, *tensors: prepared.append(self) or prepare(self, *tensors))
    for _ in range(3):
        assert_streams(layer, x)
    assert len(prepared) == 1


def replaced(layer):
    layer.weight_hh_l0 = torch.nn.Parameter(torch.randn_like(layer.weight_hh_l0))


def moved(layer):
    layer.weight_hh_l0.data = torch.randn_like(layer.weight_hh_l0)


def loaded(layer):
    layer.load_state_dict({n: torch.randn_like(w) for n, w in layer.state_dict().items()}, assign=True)


def half_and_back(layer):
    layer.half().float()


@pytest.mark.parametrize(
    "change",
    [lambda layer: layer.bias_ih_l0.add_(1), replaced, moved, loaded, half_and_back, Recurrent.reset_parameters],
)
def test_changed_weights_are_seen(change, taken):
    layer, x = Recurrent("lstm", I, H), torch.randn(T, B, I)
    assert_streams(layer, x)
    before = layer(x)[0]
    change(layer)
    assert not torch.equal(layer(x)[0], before)
    assert_streams(layer, x)
    assert len(taken) == 2 * T


def test_weights_of_a_functional_call_are_seen():
    class Stepping(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Recurrent("gru", I, H)

        def forward(self, x):
            return self.layer.step(x)[0]

    module, x = Stepping(), torch.randn(B, I)
    module(x)
    others = {name: torch.randn_like(weight) for name, weight in module.named_parameters()}
    found = torch.func.functional_call(module, others, x)
    module.load_state_dict(others)
    assert_close(found, whole(module.layer, x[None])[0][0], "output")


class Twice(torch.nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_weights_that_are_computed_run_as_sequences(taken):
    layer, x = Recurrent("lstm", I, H), torch.randn(T, B, I)
    state = assert_streams(layer, x)
    parametrize.register_parametrization(layer, "weight_hh_l0", Twice())
    assert_close(layer.step(x[0], state)[0], whole(layer, x[:1], state)[0][0], "parametrized")
    layer = Recurrent("lstm", I, H)
    prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    assert_streams(layer, x)
    assert len(taken) == T


def test_copies_have_weights_of_their_own():
    layer, x = Recurrent("lstm", I, H), torch.randn(T, B, I)
    assert_streams(layer, x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert_streams(copied, x)
        copied.weight_hh_l0.mul_(2)
        assert_streams(copied, x)
        assert_streams(layer, x)


def test_states_that_were_given_out_stay_as_they_are():
    layer = Recurrent("lstm", I, H)
    _, first = layer.step(torch.randn(B, I))
    kept = copy.deepcopy(first)
    layer.step(torch.randn(B, I), first)
    assert torch.equal(first[0][0], kept[0][0])
    assert torch.equal(first[0][1], kept[0][1])


def test_another_thread_may_step_while_a_kernel_runs():
    layer, first, second = Recurrent("lstm", I, H), torch.randn(1, I), torch.randn(1, I)
    state, wanted = layer.step(first)[1], [whole(layer, x[None])[0][0] for x in (first, second)]
    (batch,) = layer._streams[0]._ready.kernel.batches.values()
    (prepared, address), between = batch.free[0], []

    def kernel(at):  # which lets go of Python's lock
        if not between:
            between.append(None)
            between.append(layer.step(second)[0])
        prepared.function(at)

    batch.free[0] = dataclasses.replace(prepared, function=kernel), address
    assert_close(layer.step(first)[0], wanted[0], "the one")
    assert_close(between[1], wanted[1], "the other")
    assert len(batch.free) == 2
    assert_close(layer.step(first, state)[0], layer(torch.stack([first, first]))[0][1], "the next")


@pytest.mark.parametrize("cell", ["lstm", "layernorm_lstm", "full_gru"])
def test_the_same_step_twice_is_the_same_to_the_bit(cell):
    layer, x = Recurrent(cell, 100, 150), torch.randn(1, 100)
    state = layer.step(x)[1]
    ys = [layer.step(x, state)[0] for _ in range(4)]
    assert all(torch.equal(y, ys[0]) for y in ys)


# --- what must not be taken by the stream ----------------------------------------------------------------------------


@pytest.fixture
def streaming():
    """A layer that has taken a step, the input of the next, and the state."""
    layer = Recurrent("lstm", I, H, weight_dropout=0.9).eval()
    return layer, torch.randn(B, I), layer.step(torch.randn(B, I))[1]


def test_a_gradient_is_given_to_who_asks(streaming):
    layer, x, state = streaming
    with torch.enable_grad():
        assert layer.step(x, state)[0].requires_grad


def test_dropout_is_not_forgotten(streaming):
    layer, x, state = streaming
    wanted = layer.step(x, state)[0]
    assert not torch.allclose(layer.train().step(x, state)[0], wanted)
    assert torch.equal(layer.eval().step(x, state)[0], wanted)


def test_a_forced_path_is_taken():
    layer, x = Recurrent("full_gru", I, H), torch.randn(B, I)
    state = layer.step(x)[1]
    with force_path("vendor"), pytest.raises(PathError, match="FullGRU cannot run on the vendor path"):
        layer.step(x, state)


def test_a_transform_sees_every_operation(streaming, taken):
    layer, x, state = streaming
    found = torch.func.vmap(lambda x: layer.step(x, state)[0])(torch.stack([x, 2 * x]))
    assert not taken
    assert_close(found[1], layer.step(2 * x, state)[0], "output")


def test_so_does_the_compiler(streaming):
    layer, x, state = streaming
    compiled = torch.compile(lambda x, h, c: layer.step(x, [(h, c)])[0], fullgraph=True, backend="eager")
    assert_close(compiled(x, *state[0]), layer.step(x, state)[0], "output")


def test_so_do_tracers_and_fake_tensors(streaming):
    layer, x, state = streaming
    for run in (lambda x, h, c: layer.step(x, [(h, c)])[0], lambda x, h, c: layer(x[None], [(h, c)])[0][0]):
        traced = make_fx(run)(x, *state[0])
        assert_close(traced(2 * x, *state[0]), run(2 * x, *state[0]), "output")
    with FakeTensorMode():
        fake = Recurrent("lstm", I, H)
        assert fake.step(torch.randn(B, I), fake(torch.randn(T, B, I))[1])[0].shape == (B, H)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, state: (x[0], state), r"step takes one time step \[B, I\]"),
        (lambda x, state: (x[:, 1:], state), r"step takes one time step \[B, I\] with I = 4"),
        (lambda x, state: (x, []), "state must hold"),
        (lambda x, state: (x, [state[0][:1]]), "state must hold"),
        (lambda x, state: (x, [(state[0][0], state[0][1][:, 1:])]), "state must hold"),
        (lambda x, state: (x[:2], state), "state must hold"),
        (lambda x, state: (x.double(), state), "must be of one dtype"),
        (lambda x, state: (x, [(state[0][0].double(), state[0][1])]), "must be of one dtype"),
    ],
)
def test_what_does_not_fit_is_refused_as_ever(streaming, change, message):
    layer, *tensors = streaming
    with pytest.raises(ShapeError, match=message):
        layer.step(*change(*tensors))


@pytest.mark.parametrize("which", ["input", "state", "weights"])
def test_no_address_is_taken_of_what_has_none(streaming, which):
    layer, x, state = streaming
    x = x.to("meta") if which == "input" else x
    state = [tuple(part.to("meta") for part in state[0])] if which == "state" else state
    layer = layer.to("meta") if which == "weights" else layer
    with pytest.raises((RuntimeError, ShapeError), match="device"):
        layer.step(x, state)

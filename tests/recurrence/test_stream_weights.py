"""A stream is right whatever has changed the weights, counted by torch or not; while frozen it notices what it can."""

import copy
import ctypes
import functools

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from tests.oracle import assert_close, needs_compiler
from torch import nn

from gateflow import Cell, Recurrent
from gateflow.errors import ShapeError
from gateflow.recurrence import force_path, stream

B, I, H = 2, 4, 7

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def trained(optimizer):
    """Some updates by an optimizer of torch."""

    def change(layer):
        opt = optimizer(layer.parameters())
        for _ in range(3):
            opt.zero_grad()
            layer(torch.randn(5, B, I))[0].square().mean().backward()
            opt.step()

    return change


def by_numpy(layer):
    layer.weight_hh_l0.detach().numpy()[:] *= 2


def by_dlpack(layer):
    torch.from_dlpack(layer.weight_hh_l0.detach()).mul_(2)


def by_numpy_of_dlpack(layer):
    np.from_dlpack(layer.weight_ih_l0.detach())  # read only in numpy, but its memory is ours
    address, count = layer.weight_ih_l0.data_ptr(), layer.weight_ih_l0.numel()
    np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))[:] = 0.1


def by_data(layer):
    layer.weight_hh_l0.data.mul_(2)


def by_storage(layer):
    layer.bias_ih_l0.untyped_storage().copy_(torch.full_like(layer.bias_ih_l0, 0.7).untyped_storage())


def by_average(layer):
    """An exponential moving average that is written back, as for evaluation."""
    other = copy.deepcopy(layer)
    torch._foreach_lerp_([w.data for w in layer.parameters()], [w.data * 3 for w in other.parameters()], 0.5)


def by_swapping(layer):
    torch.utils.swap_tensors(layer.weight_hh_l0, nn.Parameter(torch.randn_like(layer.weight_hh_l0)))


def by_vector(layer):
    torch.nn.utils.vector_to_parameters(torch.randn(sum(w.numel() for w in layer.parameters())), layer.parameters())


def to_another_layout(layer):
    layer.weight_hh_l0.data = layer.weight_hh_l0.data[:H].t().repeat(3, 1)


def turned_in_place(layer):
    """The same address, other strides."""
    square = layer.weight_hh_l0.data.clone()
    layer.weight_hh_l0.data = square
    layer.step(torch.randn(B, I))
    layer.weight_hh_l0.data = square.as_strided(square.shape, (1, square.shape[0]))


def written_there(weight):
    weight.mul_(3)


def by_another_process(layer):
    layer.share_memory()
    layer.step(torch.randn(B, I))
    process = mp.get_context("fork").Process(target=written_there, args=(layer.weight_hh_l0.detach(),))
    process.start()
    process.join()
    assert process.exitcode == 0


FUSED = [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad]
EVERYWHERE = [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad, torch.optim.RMSprop]
CHANGES = {
    **{f"fused {o.__name__}": trained(functools.partial(o, lr=0.05, fused=True)) for o in FUSED},
    **{f"foreach {o.__name__}": trained(functools.partial(o, lr=0.05, foreach=True)) for o in EVERYWHERE},
    "one by one": trained(functools.partial(torch.optim.SGD, lr=0.5, foreach=False)),
    **{
        change.__name__: change
        for change in (by_numpy, by_dlpack, by_numpy_of_dlpack, by_data, by_storage, by_average, by_swapping, by_vector)
    },
    **{change.__name__: change for change in (to_another_layout, turned_in_place, by_another_process)},
}


def assert_streams(layer, x, state):
    with torch.no_grad():
        y, new = layer.step(x, state)
        with force_path("native"):  # else one step would be the stream again
            wanted, final = layer(x[None], state)
    assert_close(y, wanted[0], "output")
    for part, last in zip(new[0], final[0], strict=True):
        assert_close(part, last, "state")
    return y


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_weights_a_step_sees_it(change, taken):
    layer, x = Recurrent("gru", I, H), torch.randn(B, I)
    state = [(torch.randn(B, H),)]
    before = assert_streams(layer, x, state)
    CHANGES[change](layer)
    assert not torch.equal(assert_streams(layer, x, state), before)
    assert taken, "the stream itself has not been tried"


@pytest.mark.parametrize("change", CHANGES)
def test_the_end_of_a_frozen_stream_sees_it_too(change):
    layer, x = Recurrent("gru", I, H), torch.randn(B, I)
    state = [(torch.randn(B, H),)]
    with layer.streaming():
        assert_streams(layer, x, state)
        if change not in ("to_another_layout", "turned_in_place", "by_another_process"):
            CHANGES[change](layer)
    assert_streams(layer, x, state)


COUNTED = [
    "one by one",
    "foreach SGD",
    "foreach AdamW",
    "by_swapping",
    "by_vector",
    "to_another_layout",
    "turned_in_place",
]


@pytest.mark.parametrize("change", COUNTED)
def test_a_frozen_stream_notices_what_torch_counts(change):
    layer, x = Recurrent("gru", I, H), torch.randn(B, I)
    state = [(torch.randn(B, H),)]
    with layer.streaming():
        before = assert_streams(layer, x, state)
        CHANGES[change](layer)
        assert not torch.equal(assert_streams(layer, x, state), before)


class Rated(Cell):
    states, gates = ("h",), ("g",)
    rate = 0.3

    def step(self, x, h):
        return self.rate * h + torch.tanh(self.g(h, x))


@pytest.mark.parametrize("frozen", [False, True])
def test_an_attribute_that_changes_is_seen(frozen):
    layer, x, state = Recurrent(Rated, I, H), torch.randn(B, I), [(torch.randn(B, H),)]
    if frozen:
        with layer.streaming():
            assert_streams(layer, x, state)
            layer.cells[0].rate = 0.9
            assert_streams(layer, x, state)
    for rate in (0.1, 0.2, 0.2):
        layer.cells[0].rate = rate
        assert_streams(layer, x, state)


def test_a_frozen_stream_keeps_what_it_has_packed(taken):
    """What makes it faster: the weights are packed once. Seen by a change that torch does not count."""
    layer, x, state = Recurrent("gru", I, H), torch.randn(B, I), [(torch.randn(B, H),)]
    with torch.no_grad(), layer.streaming():
        before, _ = layer.step(x, state)
        layer.weight_hh_l0.data.mul_(2)
        after, _ = layer.step(x, state)
    assert torch.equal(before, after)
    assert len(taken) == 2


def test_blocks_may_be_nested_and_left_by_an_error():
    layer, x, state = Recurrent("gru", I, H), torch.randn(B, I), [(torch.randn(B, H),)]

    def fail():
        with layer.streaming(), layer.streaming():
            assert_streams(layer, x, state)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    layer.weight_hh_l0.data.mul_(2)
    assert_streams(layer, x, state)


def test_a_copy_of_a_frozen_layer_is_not_frozen():
    layer, x, state = Recurrent("gru", I, H), torch.randn(B, I), [(torch.randn(B, H),)]
    with layer.streaming():
        assert_streams(layer, x, state)
        other = copy.deepcopy(layer)
        assert_streams(other, x, state)
        other.weight_hh_l0.data.mul_(2)
        assert_streams(other, x, state)


def test_weights_of_inference_mode_stream():
    """Of those torch counts nothing at all."""
    with torch.inference_mode():
        layer, x, state = Recurrent("gru", I, H), torch.randn(B, I), [(torch.randn(B, H),)]
        assert_streams(layer, x, state)
        layer.weight_hh_l0.mul_(2)
        assert_streams(layer, x, state)


@pytest.mark.parametrize("change", ["fused AdamW", "by_numpy", "by_data", "one by one"])
@pytest.mark.parametrize("by_torch", [False, True], ids=["by the kernel", "by torch"])
def test_many_weights_are_read_again_at_each_step(change, by_torch, monkeypatch):
    if by_torch:  # as where they are very many
        monkeypatch.setattr(stream, "MANY", 0)
    layer, x = Recurrent("lstm", 300, 200), torch.randn(B, 300)
    state = [(torch.randn(B, 200), torch.randn(B, 200))]

    def change_it(layer):
        if change == "by_numpy":
            by_numpy(layer)
        elif change == "by_data":
            by_data(layer)
        else:
            layer.weight_hh_l0.grad = torch.randn_like(layer.weight_hh_l0)
            torch.optim.AdamW(layer.parameters(), lr=0.1, fused=change.startswith("fused")).step()

    before = assert_streams(layer, x, state)
    change_it(layer)
    after = assert_streams(layer, x, state)
    assert not torch.equal(before, after)
    with layer.streaming():
        assert_streams(layer, x, state)
    with pytest.raises(ShapeError):
        layer.step(x.double(), state)


def test_weights_are_frozen_for_steps_alone():
    """A call of the whole layer, even for one step, reads them as they are."""
    layer, x = Recurrent("gru", I, H), torch.randn(1, B, I)
    with torch.no_grad(), layer.streaming():
        before = layer(x)[0]
        layer.weight_hh_l0.data.mul_(2), layer.bias_ih_l0.data.add_(1)
        after = layer(x)[0]
        with force_path("native"):
            assert_close(after, layer(x)[0], "output")
    assert not torch.equal(before, after)

"""Dropout within a step: the masks that the loop would draw, drawn before the loop."""

import copy

import pytest
import torch
from tests.oracle import needs_compiler
from torch import nn, tanh
from torch.nn import functional as F

from gateflow import Recurrent
from gateflow.cells import Cell
from gateflow.compiler import look_at
from gateflow.recurrence import explain, force_path

T, B, I, H = 6, 4, 3, 5


class Dropping(Cell):
    """Of the input of a gate and of the new state, by a function and by a module that it holds."""

    states, gates = ("h", "c"), ("new", "open")

    def __init__(self, *sizes, p=0.3, **options):
        super().__init__(*sizes, **options)
        self.p, self.drop = p, nn.Dropout(0.5)

    def step(self, x, h, c):
        o = torch.sigmoid(self.open(c, F.dropout(x, self.p, self.training)))
        h = o * self.drop(tanh(self.new(h, x))) + (1 - o) * h
        return h, 0.5 * c + h


def run(layer, path, x, lengths, seed=3):
    torch.manual_seed(seed)
    with force_path(path):
        y, final = layer(x, lengths=lengths)
    total = y.square().sum() + sum(part.sum() for parts in final for part in parts)
    return [y, *torch.autograd.grad(total, [x, *layer.parameters()])]


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"memory": "lean"}, {"zoneout": 0.2}], ids=str)
@pytest.mark.parametrize("lengths", [None, [6, 2, 0, 5]], ids=["even", "ragged"])
def test_the_same_seed_drops_the_same(options, lengths):
    layer = Recurrent(Dropping, I, H, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64).requires_grad_()
    assert explain(layer).rows[0][1].path == "native"
    for found, wanted in zip(run(layer, "native", x, lengths), run(layer, "reference", x, lengths), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)


@needs_compiler
def test_each_step_and_call_has_masks_of_its_own_and_evaluation_none():
    layer, x = Recurrent(Dropping, I, H), torch.randn(T, B, I)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    with force_path("reference"):
        wanted, _ = layer(x)
    torch.testing.assert_close(layer(x)[0], wanted)


@needs_compiler
def test_another_probability_is_seen():
    torch.manual_seed(0)
    layer, x = (
        Recurrent(Dropping, I, H, dtype=torch.float64),
        torch.randn(T, B, I, dtype=torch.float64).requires_grad_(),
    )
    run(layer, "native", x, None)
    layer.cells[0].p = 0.9
    for found, wanted in zip(run(layer, "native", x, None), run(layer, "reference", x, None), strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)


@needs_compiler
def test_a_stream_drops_too_and_a_copy_is_the_same_step():
    torch.manual_seed(0)
    layer, x = Recurrent(Dropping, I, H), torch.randn(B, I)
    _, state = layer(torch.randn(T, B, I))
    with torch.no_grad():
        assert not torch.equal(layer.step(x, state)[0], layer.step(x, state)[0])
    assert explain(copy.deepcopy(layer)).rows[0][1].path == "native"


class PartlyUnused(Cell):
    """What it drops first no state depends on, but it is drawn."""

    states, gates = ("h",), ("new",)

    def step(self, x, h):
        both = torch.cat((F.dropout(h, 0.5), self.new(h, x)), -1)
        return tanh(both[..., self.hidden_size :]) + 0.1 * F.dropout(h, 0.3)


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"zoneout": 0.2}], ids=str)
def test_a_dropout_that_no_state_depends_on_is_drawn_all_the_same(options):
    layer = Recurrent(PartlyUnused, I, H, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64).requires_grad_()
    for found, wanted in zip(
        run(layer, "native", x, [6, 2, 0, 5]), run(layer, "reference", x, [6, 2, 0, 5]), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)


class OfWeights(Cell):
    """Of a vector: one mask for all samples. Of a matrix: one for each step, where a run has one matrix."""

    states, gates, diagonals, matrices = ("h",), ("new",), ("scale",), ("own",)
    vector, matrix, p = False, False, 1e-6

    def step(self, x, h):
        scale = F.dropout(self.scale, self.p, self.vector)
        return tanh(self.new(h, x) * scale + h @ F.dropout(self.weight_own, self.p, self.matrix))


@needs_compiler
@pytest.mark.parametrize("dropped", ["vector", "matrix"])
def test_what_is_dropped_of_weights_is_for_the_loop_however_rarely_it_shows(dropped):
    """Nothing is dropped when the step is tried: the chance is too small."""
    layer = Recurrent(OfWeights, I, H)
    assert explain(layer).rows[0][1].path == "native"
    setattr(layer.cells[0], dropped, True)
    choice = explain(layer).rows[0][1]
    assert choice.path == "reference"
    assert ("`dropout`" if dropped == "vector" else "drawing random numbers") in choice.reason
    setattr(layer.cells[0], dropped, False)
    assert explain(layer).rows[0][1].path == "native"


def test_a_look_at_a_step_seeds_no_generator_of_another_device(monkeypatch):
    """`torch.manual_seed` would, and the user's numbers on a GPU would come again."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("seeded"))
    cell, before = Dropping(I, H), torch.get_rng_state()
    look_at(cell)
    assert torch.equal(before, torch.get_rng_state())

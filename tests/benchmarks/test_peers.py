"""A race is fair if all run the same course: each peer's outputs and gradients are those of the eager loop."""

import numpy as np
import pytest
import torch
from benchmarks.cases import Absent, Case, Problem
from benchmarks.cells import CELLS
from benchmarks.peers import OURS, PEERS
from benchmarks.shapes import parse
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

SHAPES = ["3/5/4/6", "4/2-5/4/6"]


def padded(problem, value):
    """What a peer returned, as a numpy array; packed values `[tokens, F]` get their places back."""
    value = torch.as_tensor(np.array(value)) if not isinstance(value, torch.Tensor) else value.detach()
    if isinstance(problem.x, PackedSequence) and value.dim() == 2:
        value = pad_packed_sequence(problem.x._replace(data=value))[0]
    return value.numpy()


def ran(peer, problem):
    try:
        return peer(problem)()
    except Absent as absent:
        pytest.skip(str(absent))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("peer", ["ours", "torch_nn", "jax", "onnx"])
def test_same_outputs(cell, peer, shape):
    problem = Problem(Case(cell, parse(shape), "inference"))
    if peer == "torch_nn" and problem.subject.kin:
        pytest.skip("a kin computes something else")
    found = ran({"ours": OURS, **PEERS}[peer], problem)
    expected = ran(PEERS["eager"], problem)
    np.testing.assert_allclose(padded(problem, found), padded(problem, expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("peer", ["ours", "torch_nn", "jax"])
def test_same_gradients(cell, peer):
    problem = Problem(Case(cell, parse(SHAPES[1]), "training"))
    if peer == "torch_nn" and problem.subject.kin:
        pytest.skip("a kin computes something else")
    expected = {name: padded(problem, g) if name == "x" else g for name, g in ran(PEERS["eager"], problem).items()}
    found = ran({"ours": OURS, **PEERS}[peer], problem)
    if peer == "jax":
        _, (weights, x) = found
        found = {"x": x, **{f"{name}_l0": gradient for name, gradient in weights.items()}}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        got = padded(problem, gradient) if name == "x" else np.asarray(gradient)
        np.testing.assert_allclose(got, np.asarray(expected[name]), rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("peer", ["ours", "torch_nn"])
def test_same_stream(cell, peer):
    problem = Problem(Case(cell, parse("2/5/4/6"), "step"))
    if peer == "torch_nn" and problem.subject.kin:
        pytest.skip("a kin computes something else")
    found, whole = ran({"ours": OURS, **PEERS}[peer], problem), ran(PEERS["eager"], problem)
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


def test_bf16_narrows_products_and_nothing_else():
    for cell in ("lstm", "user"):
        wide, narrow = (Problem(Case(cell, parse("3/5/4/6"), "training", p)) for p in ("fp32", "bf16"))
        a, b = OURS(wide)()["weight_hh_l0"], OURS(narrow)()["layer.weight_hh_l0"]
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.02)


def test_flops_are_those_of_the_products():
    shape = parse("32/5-100/16/24")
    assert shape.tokens == sum(shape.lengths) < 32 * 100
    assert (min(shape.lengths), max(shape.lengths)) == (5, 100)
    for mode, factor in (("inference", 1), ("training", 3)):
        problem = Problem(Case("lstm", shape, mode))
        assert problem.flops == factor * 2 * shape.tokens * 4 * 24 * (16 + 24)

"""Cells that neither torch nor ONNX has, against plain numpy; every cell against finite differences."""

import numpy as np
import pytest
import torch

from gateflow import cells

B, I, H = 3, 4, 5


def sigma(a):
    return 1 / (1 + np.exp(-a))


def norm(v, cell, name):
    scaled = (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)
    return scaled * value(cell, f"{name}_weight") + value(cell, f"{name}_bias")


def value(cell, name):
    return getattr(cell, name).detach().numpy()


def affine(cell, k):
    """The k-th gate's halves as numpy functions of the input and of a state."""
    rows = slice(k * H, (k + 1) * H)
    U, W, b, d = (value(cell, n)[rows] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return (lambda x: x @ U.T + b), (lambda s: s @ W.T + d)


def indrnn(cell, x, h):
    return (np.maximum(0, x @ value(cell, "weight_ih").T + value(cell, "bias_ih") + value(cell, "recurrent") * h),)


def minimal_gated_unit(cell, x, h):
    (Uf, Wf), (Uh, Wh) = affine(cell, 0), affine(cell, 1)
    f = sigma(Uf(x) + Wf(h))
    return ((1 - f) * h + f * np.tanh(Uh(x) + Wh(f * h)),)


def layernorm_lstm(cell, x, h, c):
    i, f, g, o = (norm(U(x) + W(h), cell, f"norm_{n}") for n, (U, W) in gates(cell, "input forget content output"))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(norm(c, cell, "norm_memory")), c


def layernorm_gru(cell, x, h):
    (Ur, Wr), (Uz, Wz), (Un, Wn) = (affine(cell, k) for k in range(3))
    r = sigma(norm(Ur(x) + Wr(h), cell, "norm_reset"))
    z = sigma(norm(Uz(x) + Wz(h), cell, "norm_update"))
    n = np.tanh(Un(x) + r * norm(Wn(h), cell, "norm_recurrent"))
    return ((1 - z) * n + z * h,)


def fgr(cell, x, h, c, i, f, o):
    R = {n: value(cell, f"weight_{n}").T for n in cell.matrices}
    p = {n: value(cell, f"peephole_{n}") for n in ("input", "forget", "output")}
    (Ui, Wi), (Uf, Wf), (Uc, Wc), (Uo, Wo) = (affine(cell, k) for k in range(4))
    i_t = sigma(Ui(x) + Wi(h) + p["input"] * c + i @ R["ii"] + f @ R["fi"] + o @ R["oi"])
    f_t = sigma(Uf(x) + Wf(h) + p["forget"] * c + i @ R["if_"] + f @ R["ff"] + o @ R["of"])
    c_t = f_t * c + i_t * np.tanh(Uc(x) + Wc(h))
    o_t = sigma(Uo(x) + Wo(h) + p["output"] * c_t + i @ R["io"] + f @ R["fo"] + o @ R["oo"])
    return o_t * np.tanh(c_t), c_t, i_t, f_t, o_t


def gates(cell, names):
    return [(n, affine(cell, k)) for k, n in enumerate(names.split())]


def random_cell(name):
    cell = cells.get(name)(I, H, dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_()
    return (
        cell,
        torch.randn(B, I, dtype=torch.float64),
        tuple(torch.randn(B, size, dtype=torch.float64) for size in cell.state_sizes.values()),
    )


@pytest.mark.parametrize("transcription", [indrnn, minimal_gated_unit, layernorm_lstm, layernorm_gru, fgr])
def test_one_step_against_numpy(transcription):
    cell, x, state = random_cell(transcription.__name__)
    wanted = transcription(cell, x.numpy(), *(s.numpy() for s in state))
    for found, part in zip(cell(x, state), wanted, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), part, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", cells.names())
def test_gradients_against_finite_differences(name):
    cell, x, state = random_cell(name)
    names, weights = zip(*cell.named_parameters(), strict=True)

    def step(*tensors):
        bound = cell.over(dict(zip(names, tensors[: len(names)], strict=True)))
        return bound(tensors[len(names)], tensors[len(names) + 1 :])

    inputs = [t.detach().requires_grad_() for t in (*weights, x, *state)]
    assert torch.autograd.gradcheck(step, inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["elman", "full_gru", "peephole_lstm", "layernorm_lstm"])
def test_second_derivatives_against_finite_differences(name):
    cell, x, state = random_cell(name)
    inputs = [t.detach().requires_grad_() for t in (x, *state)]
    assert torch.autograd.gradgradcheck(lambda x, *s: cell(x, s), inputs, fast_mode=True)

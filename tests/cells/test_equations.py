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


def janet(cell, x, c):
    (Uf, Wf), (Uc, Wc) = affine(cell, 0), affine(cell, 1)
    s = Uf(x) + Wf(c)
    return (sigma(s) * c + (1 - sigma(s - 1)) * np.tanh(Uc(x) + Wc(c)),)


def star(cell, x, h):
    (U, W), content = affine(cell, 0), of_input(cell, 1)
    k = sigma(U(x) + W(h))
    return (np.tanh((1 - k) * h + k * np.tanh(content(x))),)


def min_gru(cell, x, h):
    z = sigma(of_input(cell, 0)(x))
    return (h + z * (of_input(cell, 1)(x) - h),)


def mut1(cell, x, h):
    (Ur, Wr), (Uh, Wh) = affine(cell, 0), affine(cell, 1)
    z, r = sigma(of_input(cell, 2)(x)), sigma(Ur(x) + Wr(h))
    return (np.tanh(Wh(r * h) + np.tanh(Uh(x))) * z + h * (1 - z),)


def li_gru(cell, x, h):
    (Uz, Wz), (Uh, Wh) = affine(cell, 0), affine(cell, 1)
    z = sigma(norm(Uz(x), cell, "norm_update") + Wz(h))
    return (z * h + (1 - z) * np.maximum(0, norm(Uh(x), cell, "norm_content") + Wh(h)),)


def multiplicative_lstm(cell, x, h, c):
    m = of_input(cell, 4)(x) * (h @ value(cell, "weight_mix").T)
    i, f, g, o = (U(x) + W(m) for _, (U, W) in gates(cell, "input forget content output"))
    c = sigma(f) * c + sigma(i) * np.tanh(g)
    return sigma(o) * np.tanh(c), c


def rhn(cell, x, s):
    (Uh, Wh), (Ut, Wt) = affine(cell, 0), affine(cell, 1)
    h, t = np.tanh(Uh(x) + Wh(s)), sigma(Ut(x) + Wt(s))
    s = h * t + s * (1 - t)
    for layer in range(2, 6):
        names = f"content_{layer}", f"transform_{layer}"
        h, t = (s @ value(cell, f"weight_{n}").T + value(cell, f"bias_{n}") for n in names)
        s = np.tanh(h) * sigma(t) + s * (1 - sigma(t))
    return (s,)


def slstm(cell, x, h, c, n, m):
    """Without stabilizer: `c` and `n` in their own scale, whatever it is."""
    i, f, g, o = (U(x) + W(h) for _, (U, W) in gates(cell, "input forget content output"))
    c = sigma(f) * c * np.exp(m) + np.exp(i) * np.tanh(g)
    n = sigma(f) * n * np.exp(m) + np.exp(i)
    m = np.maximum(np.log(sigma(f)) + m, i)
    return sigma(o) * c / n, c / np.exp(m), n / np.exp(m), m


def of_input(cell, k):
    """The map of the input alone whose rows are the k-th."""
    rows = slice(k * H, (k + 1) * H)
    return lambda x: x @ value(cell, "weight_ih")[rows].T + value(cell, "bias_ih")[rows]


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


@pytest.mark.parametrize(
    "transcription",
    [
        *(indrnn, minimal_gated_unit, layernorm_lstm, layernorm_gru, fgr, janet, star, min_gru, mut1, li_gru),
        *(multiplicative_lstm, rhn, slstm),
    ],
)
def test_one_step_against_numpy(transcription):
    cell, x, state = random_cell(transcription.__name__)
    wanted = transcription(cell, x.numpy(), *(s.numpy() for s in state))
    for found, part in zip(cell(x, state), wanted, strict=True):
        np.testing.assert_allclose(found.detach().numpy(), part, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slstm_from_nothing_is_the_one_without_stabilizer(dtype):
    """And where the sums are so large that only the stabilizer keeps it finite, it is what its limit is."""
    torch.manual_seed(1)
    cell = cells.SLSTM(I, H, dtype=dtype)
    xs, state = 3 * torch.randn(6, B, I, dtype=dtype), (torch.zeros(B, H, dtype=dtype),) * 4
    plain = tuple(np.zeros((B, H)) for _ in range(3))
    for x in xs:
        state, (h, c, n) = cell(x, state), plain
        found = slstm(cell, x.numpy().astype(float), h, c, n, np.zeros((B, H)))
        scale = np.exp(found[3])
        plain = found[0], found[1] * scale, found[2] * scale
        np.testing.assert_allclose(state[0].detach().numpy(), plain[0], rtol=1e-4 if dtype == torch.float32 else 1e-11)
    for sums in (-300.0, 300.0):
        with torch.no_grad():
            cell.bias_ih[:H] = sums
        first = cell(xs[0], (torch.zeros(B, H, dtype=dtype),) * 4)
        later = cell(xs[1], first)
        assert all(part.isfinite().all() for part in (*first, *later))


def test_a_highway_network_of_any_depth():
    class Deep(cells.RHN, depth=3):
        pass

    class Shallow(cells.RHN, depth=1):
        pass

    assert (Deep.depth, len(Deep.matrices), Shallow.matrices, cells.RHN.depth) == (3, 4, (), 5)
    assert Deep(I, H)(torch.randn(B, I))[0].shape == (B, H)
    # The one layer carries at the start: its bias is -2.
    assert (Shallow(I, H).bias_ih[H:] == -2).all()


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

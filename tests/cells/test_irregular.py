"""CfC judged by its authors' code and GRU-D by its paper's equations in numpy; both by finite differences."""

import numpy as np
import pytest
import torch
from tests.oracle import needs_compiler
from tests.recurrence.case import Case, assert_same

from gateflow import Recurrent
from gateflow.cells import GRUD, CfC
from gateflow.recurrence import force_path

T, B, I, H = 5, 3, 4, 6


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def numbers(cell):
    return {name: weight.detach().numpy() for name, weight in cell.named_parameters()}


def test_cfc_is_that_of_its_authors():
    ncps = pytest.importorskip("ncps.torch", reason="ncps is not installed (pip install ncps --no-deps)")
    torch.manual_seed(0)
    theirs, ours = ncps.CfCCell(I, H, backbone_layers=0, mode="default").double(), CfC(I, H, dtype=torch.float64)
    with torch.no_grad():
        for gate, linear in {"early": "ff1", "late": "ff2", "scale": "time_a", "shift": "time_b"}.items():
            rows, given = ours.gate_rows(gate), getattr(theirs, linear)
            # Theirs has one matrix for the input and the state behind it.
            ours.weight_ih[rows], ours.weight_hh[rows] = given.weight[:, :I], given.weight[:, I:]
            ours.bias_ih[rows], ours.bias_hh[rows] = given.bias, torch.zeros(H, dtype=torch.float64)
    x, h, dt = (torch.randn(B, n, dtype=torch.float64) for n in (I, H, 1))
    wanted, _ = theirs(x, h, dt.abs())
    torch.testing.assert_close(ours(x, (h,), dt=dt.abs())[0], wanted, atol=1e-12, rtol=1e-12)


def test_cfc_is_its_equation():
    torch.manual_seed(0)
    cell = CfC(I, H, dtype=torch.float64)
    w, x, h, dt = numbers(cell), *(np.random.default_rng(0).standard_normal((B, n)) for n in (I, H, 1))
    sums = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    early, late, scale, shift = np.split(sums, 4, axis=1)
    gate = sigmoid(scale * dt + shift)
    wanted = (1 - gate) * np.tanh(early) + gate * np.tanh(late)
    found = cell(torch.tensor(x), (torch.tensor(h),), dt=torch.tensor(dt))[0]
    np.testing.assert_allclose(found.detach(), wanted, atol=1e-12)


def transcribed(w, x, times):
    """GRU-D after Che et al. (2018), equations 3 to 12, over whole sequences whose times are given, not differences."""
    D = x.shape[2]
    U, W, b = (np.split(w[name], 3) for name in ("weight_ih", "weight_hh", "bias_ih"))
    b = [mine + other for mine, other in zip(b, np.split(w["bias_hh"], 3), strict=True)]
    V = [w[f"weight_seen_{gate}"] for gate in ("update", "reset", "content")]
    seen, outputs, h = ~np.isnan(x), [], np.zeros((x.shape[1], H))
    for t in range(len(x)):
        delta, last = np.zeros((x.shape[1], D)), np.zeros((x.shape[1], D))
        for b_, d in np.ndindex(x.shape[1], D):
            before = [s for s in range(t) if seen[s, b_, d]]
            # The sequence begins at time 0, as if everything had been seen there, at its mean.
            delta[b_, d] = times[t] - (times[before[-1]] if before else 0.0)
            last[b_, d] = x[before[-1], b_, d] if before else 0.0
        m = seen[t].astype(float)
        decay = np.exp(-np.maximum(0, w["input_decay"] * delta + w["input_decay_bias"]))
        v = np.where(seen[t], np.nan_to_num(x[t]), decay * last)
        g = np.exp(-np.maximum(0, delta @ w["weight_decay"].T + w["decay_bias"])) * h
        z, r = (sigmoid(v @ U[k].T + g @ W[k].T + m @ V[k].T + b[k]) for k in (0, 1))
        n = np.tanh(v @ U[2].T + (r * g) @ W[2].T + m @ V[2].T + b[2])
        h = (1 - z) * g + z * n
        outputs.append(h)
    return np.stack(outputs)


@needs_compiler
@pytest.mark.parametrize("path", ["native", "reference"])
def test_gru_d_is_its_paper(path):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    layer = Recurrent("gru_d", I, H, dtype=torch.float64)
    x = np.where(random.random((T, B, I)) < 0.4, np.nan, random.standard_normal((T, B, I)))
    dt = random.random(T)
    with force_path(path):
        y, _ = layer(torch.tensor(x), dt=torch.tensor(dt)[:, None].expand(T, B))
    np.testing.assert_allclose(y.detach(), transcribed(numbers(layer.cells[0]), x, dt.cumsum()), atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("options", [{}, {"lengths": [5, 1, 3]}, {"memory": "lean"}, {"zoneout": True}], ids=str)
@pytest.mark.parametrize("cell", [CfC, GRUD])
def test_kernels_are_the_loop_where_values_are_missing(cell, options):
    torch.manual_seed(0)
    case = Case(tuple(cell(I, H, dtype=torch.float64) for _ in range(2)), T, B, **options)
    if cell is GRUD:
        with torch.no_grad():
            case.x.masked_fill_(torch.rand(case.x.shape, generator=case.random) < 0.3, torch.nan)
            case.x[..., I:] = 0.5  # elapsed times
    assert_same(case.run("native"), case.run("reference"), 1e-10, str(case))


@pytest.mark.parametrize("cell", [CfC, GRUD])
def test_gradients_are_those_of_finite_differences(cell):
    torch.manual_seed(0)
    layer = Recurrent(cell, 2, 3, dtype=torch.float64)
    x, dt = torch.randn(3, 2, 2, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64)
    with force_path("reference"):
        assert torch.autograd.gradcheck(lambda *t: layer(t[0], dt=t[1])[0], (x.requires_grad_(), dt.requires_grad_()))


def test_gru_d_learns_from_what_is_missing_without_a_nan():
    torch.manual_seed(0)
    layer, x = Recurrent("gru_d", I, H), torch.randn(T, B, I)
    x[torch.rand(x.shape) < 0.5] = torch.nan
    x.requires_grad_()
    y, _ = layer(x, dt=torch.rand(T, B))
    y.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *layer.parameters()))

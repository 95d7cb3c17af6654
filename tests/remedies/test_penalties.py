"""Penalties against their formulas, Ω against a brute-force computation."""

import pytest
import torch

from gateflow import cells
from gateflow.remedies import penalties

T, B, I, H = 5, 3, 2, 4


def test_activation_and_temporal_activation():
    y = torch.randn(T, B, H)
    torch.testing.assert_close(penalties.activation(y, 2.0), 2 * (y**2).mean())
    torch.testing.assert_close(penalties.temporal_activation(y, 3.0), 3 * ((y[1:] - y[:-1]) ** 2).mean())
    assert penalties.temporal_activation(y[:1]) == 0


@pytest.mark.parametrize("name", ["elman", "full_gru", "lstm"])
def test_omega_and_its_immediate_gradient_against_brute_force(name):
    cell = cells.get(name)(I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    states = tuple(torch.randn(T, B, n, dtype=torch.float64) for n in cell.state_sizes.values())
    errors = tuple(torch.randn(T, B, n, dtype=torch.float64) for n in cell.state_sizes.values())
    total = torch.zeros((), dtype=torch.float64)
    for k in range(T):
        for b in range(B):
            s = tuple(part[k, b : b + 1].requires_grad_() for part in (p.clone() for p in states))
            jacobian = torch.autograd.functional.jacobian(
                lambda *s, k=k, b=b: torch.cat(cell(x[k, b : b + 1], s), -1), s, create_graph=True
            )
            J = torch.cat([j.reshape(-1, H) for j in jacobian], -1)  # rows: new state, columns: old state
            e = torch.cat([part[k, b] for part in errors])
            total = total + ((e @ J).norm() / e.norm() - 1) ** 2 / B
    found = penalties.omega(cell, x, states, errors)
    torch.testing.assert_close(found, total, rtol=1e-10, atol=0)
    weights = [p for n, p in cell.named_parameters() if n != "bias_hh"]
    for a, b in zip(torch.autograd.grad(found, weights), torch.autograd.grad(total, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_omega_of_a_linear_orthogonal_recurrence_is_zero():
    class Linear(cells.Cell):
        states = ("h",)
        gates = ("content",)

        def step(self, x, h):
            return self.content(h, x)

    cell = Linear(I, H, dtype=torch.float64)
    torch.nn.init.orthogonal_(cell.weight_hh)
    s, e = torch.randn(2, T, B, H, dtype=torch.float64)
    assert penalties.omega(cell, torch.randn(T, B, I, dtype=torch.float64), (s,), (e,)) < 1e-25
    with torch.no_grad():
        cell.weight_hh *= 0.5
    torch.testing.assert_close(
        penalties.omega(cell, torch.randn(T, B, I, dtype=torch.float64), (s,), (e,)).item(), T * 0.25
    )


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_an_error_that_has_vanished_or_exploded_counts_as_any_other(scale):
    cell = cells.Elman(I, H)
    x, s, e = torch.randn(T, B, I), torch.randn(T, B, H), torch.randn(T, B, H)
    wanted = penalties.omega(cell, x, (s,), (e,))
    torch.testing.assert_close(penalties.omega(cell, x, (s,), (scale * e,)), wanted)


def test_steps_without_error_are_left_out():
    cell = cells.Elman(I, H)
    x, s, e = torch.randn(T, B, I), torch.randn(T, B, H), torch.randn(T, B, H)
    e[2:] = 0
    found = penalties.omega(cell, x, (s,), (e,))
    torch.testing.assert_close(found, penalties.omega(cell, x[:2], (s[:2],), (e[:2],)))
    found.backward()
    assert all(torch.isfinite(p.grad).all() for n, p in cell.named_parameters() if p.grad is not None)

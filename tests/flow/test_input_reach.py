"""Reach to the inputs is autograd's own gradient, of models with a recurrence and without."""

import pytest
import torch
from torch import nn

from gateflow.errors import FlowError
from gateflow.flow import ByLag, input_reach
from gateflow.flow.input_reach import told_by_lag
from gateflow.layers import Transformer

T, B, E, H = 6, 3, 4, 8
MODELS = {
    "a recurrence": lambda: nn.GRU(E, H, dtype=torch.float64),
    "a Transformer": lambda: Transformer(E, H, heads=2, dtype=torch.float64),
    "a short context": lambda: Transformer(E, H, num_layers=1, heads=2, context=2, dtype=torch.float64),
}


def measured(model, lengths=(6, 2, 4), targets=None):
    x = torch.randn(T, B, E, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    steps = torch.arange(T)[:, None]
    at = torch.where(steps < torch.tensor(lengths), steps, -1)

    def losses(x):
        return torch.where(at >= 0, model(x)[0].square().sum(-1), 0.0)

    found = losses(x)
    return input_reach(lambda t: found[t], x, at, targets), losses, x.detach()


@pytest.mark.parametrize("name", MODELS)
def test_norms_are_those_of_finite_differences(name):
    found, losses, x = measured(MODELS[name]())
    slopes = torch.zeros(T, T, B, E, dtype=torch.float64)
    for k in range(T):
        for e in range(E):
            moved = torch.zeros_like(x)
            moved[k, :, e] = 1e-5
            slopes[:, k, :, e] = (losses(x + moved) - losses(x - moved)) / 2e-5
    wanted = slopes.norm(dim=-1)
    counted = ~found.norms.isnan()
    assert torch.allclose(found.norms[counted], wanted[counted], rtol=1e-6, atol=1e-8)
    steps = torch.arange(T)
    past = (steps[None, :] <= steps[:, None])[..., None] & (steps[:, None, None] < torch.tensor([6, 2, 4]))
    assert torch.equal(counted, past)


def test_what_lies_beyond_the_context_has_no_gradient():
    found, _, _ = measured(MODELS["a short context"]())
    assert found.horizon == 2
    line = told_by_lag(found).lines["input embeddings"]
    assert bool((line[:3] > 0).all())
    assert not line[3:].any()


def test_targets_are_chosen_and_none_is_refused():
    found, _, _ = measured(MODELS["a recurrence"](), targets=(1, 5))
    assert found.norms.shape == (2, T, B)
    x = torch.zeros(2, 1, 3, requires_grad=True)
    with pytest.raises(FlowError, match="no gradient of the loss arrives at the inputs"):
        input_reach(lambda t: 0.0 * x[t].sum(-1), x, torch.tensor([[0], [1]]))


def test_a_table_has_powers_of_two_and_the_last_lag():
    line = torch.tensor([1.0, 0.5, torch.nan, 0.2, 0.1, 0.05])
    found = ByLag("Title", "Reading.", {"one": line, "other": line[:2]})
    assert [row[0] for row in found.rows()] == ["0", "1", "4", "5"]
    assert found.to_dict()["lines"]["one"][2] is None
    assert "Reading." in str(found)

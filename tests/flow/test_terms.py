"""The terms of Equation (1), judged by brute force and by autograd's own gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.flow.by_hand import terms_of_row

import gateflow
from gateflow import cells
from gateflow.flow import terms
from gateflow.layers import cells_in

T, LENGTHS = 3, [3, 0, 2]


@pytest.mark.parametrize("name", cells.names())
def test_every_weight_of_every_cell_both_directions_two_layers_ragged(name):
    model = gateflow.Recurrent(name, 3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    x, v = torch.randn(T, 3, 3, dtype=torch.float64), torch.randn(T, 3, model.output_size, dtype=torch.float64)
    every = list(cells_in(model).values())
    rows = [terms_of_row([every[:2], every[2:]], x[:n, b], v[:n, b], T) for b, n in enumerate(LENGTHS) if n]
    for weight in every[0]._parameters:
        found = terms(model, x, lambda m, x: (m(x, lengths=LENGTHS)[0] * v).sum(), weight)
        assert list(found.layers) == ["l0", "l0_reverse", "l1", "l1_reverse"]
        for k, layer in enumerate(found.layers.values()):
            wanted = sum(row[k][weight] for row in rows).flatten(2)
            gradient = wanted.sum((0, 1))
            assert layer.error < 1e-12
            torch.testing.assert_close(layer.norms, wanted.norm(dim=2), rtol=1e-9, atol=1e-12)
            # Of no gradient all shares are 0: GRU-D's decays, where no input is missing.
            shares = wanted @ gradient / gradient.square().sum() if gradient.any() else torch.zeros_like(layer.shares)
            torch.testing.assert_close(layer.shares, shares, rtol=1e-8, atol=1e-9)


@settings(max_examples=15)
@given(
    name=st.sampled_from(cells.names()),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(lambda lengths: max(lengths) > 1),
    skip=st.sampled_from([None, "residual", "highway"]),
    targets=st.one_of(st.none(), st.integers(1, 3)),
)
def test_the_terms_add_up_in_stacks_of_any_form(name, layers, bidirectional, lengths, skip, targets):
    options = {"bidirectional": bidirectional, "skip": skip, "merge": "sum", "batch_first": True}
    model = gateflow.Recurrent(name, 3, 4, num_layers=layers, dtype=torch.float64, **options)
    x = torch.randn(len(lengths), 7, 3, dtype=torch.float64)
    found = terms(model, x, lambda m, x: m(x, lengths=lengths)[0].square().sum(), "weight_ih", targets=targets)
    assert found.error < 1e-11
    if targets is None:
        for layer in found.layers.values():
            torch.testing.assert_close(layer.shares.sum(), torch.ones((), dtype=torch.float64))

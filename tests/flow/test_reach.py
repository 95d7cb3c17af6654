"""Reach, judged by brute force: every row alone, one `autograd.grad` per pair of steps."""

import pytest
import torch
from tests.flow.by_hand import reach_of_row

import gateflow
from gateflow import cells
from gateflow.flow import reach
from gateflow.layers import cells_in

T, LENGTHS = 5, [5, 0, 3]


def weighted(v, **options):
    """A loss on the output in the directions `v [T, B, O]`, the last argument of the model being the lengths."""
    return lambda model, x: (model(x, **options)[0] * v).sum()


def assert_reach(found, model, x, v, lengths):
    """Compares `found` with brute force over the cells of `model`."""
    names = list(found.layers)
    directions = 1 + any(name.endswith("reverse") for name in names)
    every = list(cells_in(model).values())
    stack = [every[k : k + directions] for k in range(0, len(every), directions)]
    for b, length in enumerate(lengths):
        if length == 0:
            assert all(layer.norms[..., b].isnan().all() for layer in found.layers.values())
            continue
        rows = reach_of_row(stack, x[:length, b], v[:length, b], T)
        for name, wanted in zip(names, rows, strict=True):
            layer = found.layers[name]
            for part, norms in [*layer.parts.items(), ("all", layer.norms)]:
                row = wanted[-1 if part == "all" else list(layer.parts).index(part)]
                nothing = norms[..., b].isnan()
                assert not row[nothing].any(), f"{name} {part}: left out what is not zero"
                torch.testing.assert_close(norms[..., b].nan_to_num(), row, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", cells.names())
def test_every_cell_both_directions_two_layers_ragged(name):
    model = gateflow.Recurrent(name, 3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    x, v = torch.randn(T, 3, 3, dtype=torch.float64), torch.randn(T, 3, model.output_size, dtype=torch.float64)
    found = reach(model, x, weighted(v, lengths=LENGTHS), floor=0)
    assert list(found.layers) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert_reach(found, model, x, v, LENGTHS)

"""The greatest of each row, judged by a stable sort."""

import pytest
import torch

from gateflow.decoding.ranking import greatest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_of_equal_ones_the_first(dtype):
    for V, count in ((1, 1), (9, 3), (40, 7), (200, 200)):
        values = torch.randint(-4, 4, (30, V)).to(dtype)
        wanted = values.sort(dim=1, descending=True, stable=True)
        found, places = greatest(values, count)
        assert torch.equal(found, wanted.values[:, :count])
        assert torch.equal(places, wanted.indices[:, :count])


def test_what_is_impossible_comes_last():
    found, places = greatest(torch.tensor([[-torch.inf, 1.0, -torch.inf, 1.0, -torch.inf]]), 3)
    assert found.tolist() == [[1.0, 1.0, -torch.inf]]
    assert places[0, :2].tolist() == [1, 3]

"""Convolutions that see nothing beyond a line's end; causal ones see nothing that comes later."""

import pytest
import torch

from gateflow.errors import ConfigError
from gateflow.tasks.transcriber.front import ConvolutionFront

FORMS = [(reduce, is_picture, causal) for reduce in (1, 2, 4, 8) for is_picture in (True, False) for causal in (0, 1)]


@pytest.mark.parametrize(("reduce", "is_picture", "causal"), FORMS)
def test_a_line_reads_the_same_in_any_batch_and_nan_in_padding_changes_nothing(reduce, is_picture, causal):
    torch.manual_seed(0)
    front = ConvolutionFront(10, size=6, reduce=reduce, is_picture=is_picture, causal=bool(causal))
    lengths = torch.tensor([37, 1, 16, 23])
    steps = torch.randn(37, 4, 10)
    for i, length in enumerate(lengths):
        steps[length:, i] = torch.nan
    steps.requires_grad_()
    found, ends = front(steps, lengths)
    assert ends.tolist() == [-(-n // reduce) for n in (37, 1, 16, 23)] == front.lengths(lengths).tolist()
    assert len(found) == int(ends.max())
    for i, (length, end) in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True)):
        alone, _ = front(steps[:length, i : i + 1], torch.tensor([length]))
        assert torch.allclose(found[:end, i], alone[:, 0], atol=1e-6)
    within = torch.arange(len(found))[:, None] < ends
    found[within].sum().backward()
    assert all(weight.grad.isfinite().all() for weight in front.parameters())
    for i, length in enumerate(lengths):
        assert steps.grad[:length, i].isfinite().all()
        assert not steps.grad[length:, i].any()


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_a_causal_front_is_read_as_a_stream(reduce):
    torch.manual_seed(0)
    front = ConvolutionFront(7, size=5, reduce=reduce, is_picture=False, causal=True)
    steps = torch.randn(41, 1, 7)
    whole, _ = front(steps, torch.tensor([41]))
    for cut in (1, 3, 7, 20):
        stream = front.stream()
        parts = torch.cat([stream(part) for part in steps.split(cut)])
        assert torch.allclose(parts, whole, atol=1e-6)
    changed = steps.clone()
    changed[20:] += 1
    later, _ = front(changed, torch.tensor([41]))
    # Step k of the layers has seen steps up to k·reduce, and no more.
    same = (later == whole).all(-1)[:, 0]
    assert same.tolist() == [k * reduce < 20 for k in range(len(whole))]
    with pytest.raises(ConfigError, match="look ahead"):
        ConvolutionFront(7).stream()


def test_places_are_in_the_middle_of_what_a_step_looks_at():
    """The gradient of a step lies around the steps that `steps_of` names."""
    for causal in (False, True):
        for reduce in (2, 4):
            front = ConvolutionFront(3, size=4, reduce=reduce, is_picture=False, causal=causal)
            steps = torch.randn(60, 1, 3, requires_grad=True)
            front(steps, torch.tensor([60]))[0][5].square().sum().backward()
            seen = steps.grad.abs().sum((1, 2)).nonzero()[:, 0]
            begin, end = front.steps_of(5, 5)
            assert end - begin == reduce
            assert seen.min() <= begin
            assert end - 1 <= seen.max()
            if causal:
                assert seen.max() == end - 1 == 5 * reduce
            else:
                assert abs((seen.min() + seen.max()) / 2 - (begin + end - 1) / 2) <= 0.5

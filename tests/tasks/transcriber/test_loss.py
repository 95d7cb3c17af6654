"""The loss and its gradients: by all paths, by finite differences; empty texts and rows of blanks."""

from itertools import groupby, product

import pytest
import torch

from gateflow.tasks.transcriber.batches import Batch
from gateflow.tasks.transcriber.model import TranscriberModel

# Of any size: the loss reads no weights.
MODEL = TranscriberModel(1, 3, hidden_size=2, num_layers=1)


def losses(log_probs, lengths, texts):
    batch = Batch(
        torch.zeros(1, len(texts), 1),
        torch.tensor(lengths),
        torch.tensor([c for text in texts for c in text], dtype=torch.int64),
        torch.tensor(list(map(len, texts))),
    )
    return MODEL.losses(log_probs, torch.tensor(lengths), batch)


def by_all_paths(probs, text):
    """The sum over every path that spells the text."""
    found = 0.0
    for path in product(range(probs.shape[1]), repeat=len(probs)):
        if [c for c, _ in groupby(path) if c] == list(text):
            found += torch.stack([probs[t, c] for t, c in enumerate(path)]).prod()
    return found


def test_it_is_the_sum_over_all_paths():
    torch.manual_seed(0)
    log_probs = torch.randn(5, 4, 3, dtype=torch.float64).log_softmax(-1)
    lengths, texts = [5, 4, 3, 5], [[1, 1, 2], [], [2], [1, 2, 1]]
    each = [
        -by_all_paths(log_probs[:n, i].exp(), text).log()
        for i, (n, text) in enumerate(zip(lengths, texts, strict=True))
    ]
    assert losses(log_probs, lengths, texts).item() == pytest.approx(sum(each).item(), rel=1e-12)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(1)
    scores = torch.randn(4, 3, 3, dtype=torch.float64, requires_grad=True)
    # One text is empty, one needs every step.
    texts = [[], [1, 1], [2, 1, 2]]
    assert torch.autograd.gradcheck(lambda x: losses(x.log_softmax(-1), [4, 3, 3], texts), scores)


def test_rows_of_blanks_and_certainty_stay_finite():
    scores = torch.zeros(6, 2, 3)
    scores[:, :, 0] = 200.0  # nothing but blanks
    scores.requires_grad_()
    found = losses(scores.log_softmax(-1), [6, 6], [[], [1, 2]])
    found.backward()
    assert found.isfinite()
    assert scores.grad.isfinite().all()

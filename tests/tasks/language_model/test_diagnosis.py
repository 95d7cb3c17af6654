"""What of a text a language model's gradient flow is measured on."""

import numpy as np
import pytest
import torch

from gateflow import flow
from gateflow.errors import DataError
from gateflow.tasks.language_model.diagnosis import horizon, stretches
from gateflow.tasks.language_model.model import LanguageModel


@pytest.fixture
def tokens(tmp_path):
    def make(count):
        np.save(tmp_path / "tokens.npy", np.arange(count, dtype=np.uint16) % 7)
        return tmp_path / "tokens.npy"

    return make


@pytest.mark.parametrize(("count", "shape"), [(2000, (64, 8)), (200, (64, 3)), (10, (9, 1)), (3, (2, 1))])
def test_a_short_text_gives_fewer_rows_then_fewer_steps(tokens, count, shape):
    inputs, targets = stretches(tokens(count), 64)
    assert inputs.shape == targets.shape == shape
    assert bool(((inputs + 1) % 7 == targets).all())


def test_too_short_a_text_is_refused(tokens):
    with pytest.raises(DataError, match="has 2 tokens"):
        stretches(tokens(2), 64)


def model(init):
    torch.manual_seed(0)
    made = LanguageModel(7, cell="gru", embedding_size=4, hidden_size=6, num_layers=1, tied=False)
    with torch.no_grad():
        init(made)
    return made


def test_the_horizon_is_that_of_reach_and_none_where_nothing_arrives(tokens):
    file, plain = tokens(600), model(lambda made: None)
    found = flow.reach(plain.eval(), stretches(file, 64), lambda m, batch: m(*batch)[0], targets=32)
    assert horizon(plain, file, window=5) == found.horizon
    assert horizon(model(lambda made: made.output.weight.zero_()), file, window=5) is None

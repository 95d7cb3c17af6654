"""The table of initial weights: what is parsed is what is applied, and the call that is shown does the same."""

import pytest
import torch

import gateflow
from gateflow.remedies.initial_weights import INITIAL_WEIGHTS, Initialiser


@pytest.mark.parametrize("name", INITIAL_WEIGHTS)
def test_the_call_that_is_shown_draws_the_same_weights(name):
    row = INITIAL_WEIGHTS[name]
    by_name, by_hand = (gateflow.Recurrent("elman_relu" if name == "identity" else "lstm", 3, 4) for _ in range(2))
    by_hand.load_state_dict(by_name.state_dict())
    torch.manual_seed(0)
    Initialiser.parse(f"{name}:7" if row.argument else name).apply(by_name)
    torch.manual_seed(0)
    exec(row.code(7), {"gateflow": gateflow, "model": by_hand})
    for one, other in zip(by_name.parameters(), by_hand.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("text", ["xavier", "chrono", "orthogonal:2", "chrono:long", "chrono:inf", "forget:nan", ""])
def test_what_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no such|takes|is no number"):
        Initialiser.parse(text)


def test_initialisers_are_read_from_text():
    assert Initialiser.parse("chrono:60") == ("chrono", 60.0)
    assert Initialiser.parse("identity") == ("identity", 0.0)
    with pytest.raises(ValueError, match="identity takes no number"):
        Initialiser.parse("identity:3")

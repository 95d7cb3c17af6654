"""Cells that torch does not have, against a package that has them: weights of ours put where theirs are."""

import pytest
import torch
import torchrecurrent

from gateflow import cells

B, I, H = 3, 4, 5

# Ours: gates, then maps of the input. Theirs: which of our blocks of the input and of the state each of theirs is.
THEIRS = {
    "janet": (torchrecurrent.JANETCell, [0, 1], [0, 1]),
    "star": (torchrecurrent.STARCell, [1, 0], [0]),
    "mut1": (torchrecurrent.MUT1Cell, [2, 0, 1], [0, 1]),
    "multiplicative_lstm": (torchrecurrent.MultiplicativeLSTMCell, [4, 0, 1, 2, 3], [0, 1, 2, 3]),
}


def blocks(tensor, order):
    return torch.cat([tensor.chunk(len(tensor) // H)[k] for k in order])


@pytest.mark.parametrize("name", THEIRS)
def test_a_step_is_theirs(name):
    kind, of_input, of_state = THEIRS[name]
    ours, theirs = cells.get(name)(I, H, dtype=torch.float64), kind(I, H).double()
    weights = {
        "weight_ih": blocks(ours.weight_ih, of_input),
        "bias_ih": blocks(ours.bias_ih, of_input),
        "weight_hh": blocks(ours.weight_hh, of_state),
        "bias_hh": blocks(ours.bias_hh, of_state),
    }
    if name == "multiplicative_lstm":
        weights |= {"weight_mh": weights["weight_hh"], "bias_mh": weights["bias_hh"]}
        weights |= {"weight_hh": ours.weight_mix, "bias_hh": torch.zeros(H, dtype=torch.float64)}
    x, state = torch.randn(B, I).double(), tuple(torch.randn(B, H).double() for _ in ours.states)
    given = (state * 2)[:2] if name == "janet" else state  # h and c are one there
    wanted = torch.func.functional_call(theirs, weights, (x, given if len(given) > 1 else given[0]), strict=False)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for found, part in zip(ours(x, state), wanted, strict=False):
        torch.testing.assert_close(found, part, rtol=1e-12, atol=1e-13)

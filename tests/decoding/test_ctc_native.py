"""CTC in C++ and in numpy: the same."""

import pytest
import torch

from gateflow.backends.cpu import ctc
from gateflow.decoding.ctc import native, prefix_beam_search
from gateflow.errors import ReferencePathWarning

EXACT = {"least_probability": 0, "most_symbols": None}


def random_lines(T, N, C, *, sharpness=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(T, N, C, generator=generator, dtype=torch.float64)).log_softmax(2).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beam", [1, 4, 16])
@pytest.mark.parametrize("options", [{}, {"insertion": 0.7}, EXACT, {"least_probability": 0.02, "most_symbols": 3}])
def test_both_paths_give_the_same(dtype, beam, options, monkeypatch):
    """Probabilities to the last bits: both add the same numbers in the same order."""
    lengths = [60, 41, 0, 60, 1, 33]
    for seed, sharpness in enumerate([0.3, 2.0, 6.0, 20.0]):
        log_probs = random_lines(60, 6, 9, sharpness=sharpness, dtype=dtype, seed=seed)
        found = prefix_beam_search(log_probs, lengths, beam=beam, nbest=beam, **options)
        with monkeypatch.context() as patch:
            patch.setattr(native, "is_there", lambda: False)
            wanted = prefix_beam_search(log_probs, lengths, beam=beam, nbest=beam, **options)
        for ours, theirs in zip(found, wanted, strict=True):
            assert [each.tokens for each in ours] == [each.tokens for each in theirs]
            assert [each.spans for each in ours] == [each.spans for each in theirs]
            for name in ("score", "log_probability", "confidences"):
                a, b = ([getattr(each, name) for each in texts] for texts in (ours, theirs))
                torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_threads_change_nothing():
    log_probs = random_lines(200, 40, 12, sharpness=4.0)
    once, before = prefix_beam_search(log_probs, nbest=3), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert prefix_beam_search(log_probs, nbest=3) == once
    finally:
        torch.set_num_threads(before)


def test_without_a_compiler_numpy_decodes_and_says_so(monkeypatch):
    log_probs = random_lines(9, 2, 4)
    wanted = prefix_beam_search(log_probs)
    monkeypatch.setattr(ctc, "obstacle", lambda: "no C++ compiler found")
    with pytest.warns(ReferencePathWarning, match="in numpy, with the same results .*: no C"):
        assert prefix_beam_search(log_probs) == wanted

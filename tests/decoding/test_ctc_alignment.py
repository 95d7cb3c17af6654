"""Alignments and probabilities of texts: judged by listing all paths, and by torch's loss."""

import itertools
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateflow.decoding.ctc import align, best_path, log_probability
from gateflow.errors import NoSequenceError, ShapeError

pytestmark = pytest.mark.usefixtures("path")
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_lines(T, N, C, *, sharpness=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(T, N, C, generator=generator, dtype=torch.float64)).log_softmax(2).to(dtype)


def paths_of(text, T, C, blank):
    for path in itertools.product(range(C), repeat=T):
        if [c for c, _ in itertools.groupby(path) if c != blank] == text:
            yield path


def total(log_probs, path):
    return sum(float(log_probs[t, c]) for t, c in enumerate(path))


def spans_of(path, blank):
    t, spans = 0, []
    for c, run in itertools.groupby(path):
        n = len(list(run))
        spans += [] if c == blank else [(t, t + n - 1)]
        t += n
    return spans


@EXAMPLES
@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 3), st.integers(0, 99), st.data())
def test_all_paths(T, C, blank, seed, data):
    blank = blank % C
    log_probs = random_lines(T, 3, C, sharpness=2.0, seed=seed)
    symbols = st.sampled_from([c for c in range(C) if c != blank])
    lengths = [T, data.draw(st.integers(0, T)), T]
    texts = [data.draw(st.lists(symbols, max_size=length)) for length in lengths]
    paths = [list(paths_of(text, n, C, blank)) for text, n in zip(texts, lengths, strict=True)]
    sums = log_probability(log_probs, lengths, texts, blank=blank)
    for n, those in enumerate(paths):
        wanted = math.log(sum(math.exp(total(log_probs[:, n], p)) for p in those)) if those else -math.inf
        assert float(sums[n]) == pytest.approx(wanted, abs=1e-10)
    if not all(paths):
        with pytest.raises(NoSequenceError, match="needs at least"):
            align(log_probs, lengths, texts, blank=blank)
        return
    for n, found in enumerate(align(log_probs, lengths, texts, blank=blank)):
        best = max(paths[n], key=lambda path: total(log_probs[:, n], path))
        assert found.tokens == texts[n]
        assert found.score == pytest.approx(total(log_probs[:, n], best), abs=1e-10)
        assert found.spans == spans_of(best, blank)
        for token, (a, b), confidence in zip(found.tokens, found.spans, found.confidences, strict=True):
            assert confidence == pytest.approx(float(log_probs[a : b + 1, n, token].max().exp()), abs=1e-12)


def test_probabilities_are_those_of_torch():
    lengths, texts = [40, 25, 40, 13, 0], [[1, 1, 2, 5, 5, 5], [3], [], [1, 2, 3, 4, 5, 6, 1, 2, 3], []]
    log_probs = random_lines(40, 5, 7, sharpness=2.0)
    flat, counts = torch.tensor([c for text in texts for c in text]), [len(text) for text in texts]
    wanted = torch.nn.functional.ctc_loss(log_probs, flat, lengths, counts, reduction="none")
    torch.testing.assert_close(log_probability(log_probs, lengths, texts), -wanted, rtol=1e-10, atol=1e-10)
    tensors = [torch.tensor(text, dtype=torch.int64) for text in texts]
    assert torch.equal(log_probability(log_probs, lengths, tensors), log_probability(log_probs, lengths, texts))


def test_the_best_path_of_all_is_that_of_its_own_text():
    log_probs, lengths = random_lines(25, 4, 6, sharpness=3.0), [25, 11, 0, 18]
    paths = best_path(log_probs, lengths)
    for path, found in zip(paths, align(log_probs, lengths, [p.tokens for p in paths]), strict=True):
        assert (found.tokens, found.spans, found.confidences) == (path.tokens, path.spans, path.confidences)
        assert found.score == pytest.approx(path.score, abs=1e-10)


def test_the_same_in_any_batch_whatever_lies_beyond_a_line():
    lengths, texts = [20, 6, 0, 13], [[1, 2, 2, 3], [4], [], [1, 1, 1, 1]]
    log_probs = random_lines(20, 4, 5, sharpness=2.0)
    for n, length in enumerate(lengths):
        log_probs[length:, n] = math.nan
    together = align(log_probs, lengths, texts)
    sums = log_probability(log_probs, lengths, texts)
    for n, (length, text) in enumerate(zip(lengths, texts, strict=True)):
        alone = log_probs[:length, n : n + 1]
        assert align(alone, [length], [text]) == [together[n]]
        assert torch.equal(log_probability(alone, [length], [text]), sums[n : n + 1])


def test_targets_that_cannot_be():
    log_probs = random_lines(4, 2, 3)
    with pytest.raises(NoSequenceError, match=r"line 1 has 4 frames, and its text of 3 symbols needs at least 5"):
        align(log_probs, None, [[1], [2, 2, 2]])
    with pytest.raises(NoSequenceError, match=r"b\.png has 1 frames"):
        align(log_probs, [4, 1], [[1], [1, 2]], names=["a.png", "b.png"])
    for symbol in (0, 3, -1, 1.5):
        with pytest.raises(ShapeError, match=f"found {symbol} in that of line 1"):
            align(log_probs, None, [[1], [1, symbol]])
    with pytest.raises(ShapeError, match="a text for each of 2 lines, found 1"):
        log_probability(log_probs, None, [[1]])
    log_probs[:, 0, 1] = -math.inf
    with pytest.raises(NoSequenceError, match="line 0: .* probability 0"):
        align(log_probs, None, [[1], [2]])
    assert log_probability(log_probs, None, [[1], [2]])[0] == -math.inf

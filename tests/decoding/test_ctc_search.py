"""Best path and beam search: judged by listing all paths."""

import itertools
import math
from collections import defaultdict

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateflow.decoding.ctc import best_path, log_probability, prefix_beam_search
from gateflow.errors import ConfigError, NonFiniteError, NoSequenceError, ShapeError

pytestmark = pytest.mark.usefixtures("path")
# The fixture says which path runs, and is the same for all examples.
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXACT = {"least_probability": 0, "most_symbols": None}


def collapsed(path, blank):
    return tuple(c for c, _ in itertools.groupby(path) if c != blank)


def all_texts(log_probs, blank=0):
    """Of one line `[T, C]`: the log probability of every text that has one, path by path."""
    T, C = log_probs.shape
    found = defaultdict(float)
    for path in itertools.product(range(C), repeat=T):
        found[collapsed(path, blank)] += math.exp(sum(float(log_probs[t, c]) for t, c in enumerate(path)))
    return {text: math.log(p) for text, p in found.items() if p > 0}


def random_lines(T, N, C, *, sharpness=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(T, N, C, generator=generator, dtype=torch.float64)).log_softmax(2).to(dtype)


class Bigram:
    """A language model that knows the symbol before; column `blank` is the end, its row the beginning."""

    def __init__(self, table, blank=0):
        self.table, self.blank = table, blank

    def start(self, rows):
        return self.table[self.blank].expand(rows, -1), torch.full((rows, 1), self.blank)

    def advance(self, state, tokens):
        assert len(state) == len(tokens)
        return self.table[tokens], tokens[:, None]

    def of(self, text):
        return sum(float(self.table[a, b]) for a, b in itertools.pairwise([self.blank, *text, self.blank]))


@EXAMPLES
@given(
    st.integers(1, 4), st.integers(2, 4), st.integers(0, 3), st.sampled_from([0.3, 1.0, 4.0, 20.0]), st.integers(0, 99)
)
def test_full_width_is_all_texts(T, C, blank, sharpness, seed):
    blank = blank % C
    lengths = [T, 0, T - 1, T]
    log_probs = random_lines(T, 4, C, sharpness=sharpness, seed=seed)
    model = Bigram(random_lines(C, 1, C, seed=seed + 1)[:, 0], blank)
    for language_model, weight, insertion in ((None, 0.5, 0.0), (None, 0.5, 0.7), (model, 0.8, -0.4)):
        options = {"language_model": language_model, "lm_weight": weight, "insertion": insertion}
        found = prefix_beam_search(log_probs, lengths, beam=130, nbest=130, blank=blank, **options, **EXACT)
        for n, length in enumerate(lengths):
            wanted = all_texts(log_probs[:length, n], blank)
            assert {tuple(each.tokens) for each in found[n]} == wanted.keys()
            for each in found[n]:
                text = tuple(each.tokens)
                added = insertion * len(text) + (weight * model.of(text) if language_model else 0.0)
                assert each.log_probability == pytest.approx(wanted[text], abs=1e-10)
                assert each.score == pytest.approx(wanted[text] + added, abs=1e-10)
            scores = [each.score for each in found[n]]
            assert scores == sorted(scores, reverse=True)


@EXAMPLES
@given(st.integers(1, 6), st.integers(0, 99), st.sampled_from([0, 1e-3, 0.2]), st.sampled_from([None, 1, 2]))
@example(beam=3, seed=0, least=0.2, most=2)
def test_what_is_pruned_counts_as_impossible(beam, seed, least, most):
    """Of whole beams: the texts of the lines that are left when what is pruned has been struck out."""
    log_probs = random_lines(4, 2, 4, sharpness=2.0, seed=seed)
    kept = log_probs.exp() >= least
    if most is not None:
        kept &= log_probs >= log_probs[:, :, 1:].topk(most, dim=2).values[:, :, -1:]
    kept[:, :, 0] = True
    struck = log_probs.masked_fill(~kept, -math.inf)
    found = prefix_beam_search(log_probs, beam=130, nbest=130, least_probability=least, most_symbols=most)
    for n in range(2):
        wanted = all_texts(struck[:, n])
        assert {tuple(each.tokens) for each in found[n]} == wanted.keys()
        for each in found[n]:
            assert each.log_probability == pytest.approx(wanted[tuple(each.tokens)], abs=1e-10)
    # A narrow beam meets some of these texts, with no more than their probability.
    for n, texts in enumerate(prefix_beam_search(log_probs, beam=beam, nbest=beam)):
        wanted = all_texts(log_probs[:, n])
        assert len({tuple(each.tokens) for each in texts}) == len(texts) <= beam
        assert all(each.log_probability <= wanted[tuple(each.tokens)] + 1e-10 for each in texts)


def test_one_prefix_that_is_dropped_and_found_again_is_one():
    """`[1]` falls out of a beam of two while `[1, 2]` is in it, and comes back."""
    for seed in range(50):
        log_probs = random_lines(8, 1, 3, sharpness=1.5, seed=seed)
        for beam in (2, 3, 5):
            texts = prefix_beam_search(log_probs, beam=beam, nbest=beam, **EXACT)[0]
            assert len({tuple(each.tokens) for each in texts}) == len(texts) == beam


@pytest.mark.parametrize("sharpness", [0.5, 3.0, 8.0])
@pytest.mark.parametrize("model", [None, "bigram"])
def test_a_line_is_decoded_the_same_in_any_batch(sharpness, model):
    T, N, C = 17, 9, 7
    lengths = [17, 3, 0, 9, 16, 17, 1, 12, 5]
    log_probs = random_lines(T, N, C, sharpness=sharpness)
    for n, length in enumerate(lengths):
        log_probs[length:, n] = math.nan
    options = {"nbest": 3, "beam": 5}
    if model:
        options["language_model"] = Bigram(random_lines(C, 1, C, seed=5)[:, 0])
    together = prefix_beam_search(log_probs, lengths, **options)
    backwards = prefix_beam_search(log_probs.flip(1), lengths[::-1], **options)[::-1]
    alone = [prefix_beam_search(log_probs[:k, n : n + 1], [k], **options)[0] for n, k in enumerate(lengths)]
    assert together == backwards == alone
    paths = best_path(log_probs, lengths)
    assert paths == [best_path(log_probs[:k, n : n + 1], [k])[0] for n, k in enumerate(lengths)]


@pytest.mark.parametrize("nbest", [1, 2, 4])
def test_how_many_are_asked_for_changes_no_better_one(nbest):
    log_probs = random_lines(20, 6, 8, sharpness=2.0)
    all_four = prefix_beam_search(log_probs, beam=4, nbest=4)
    assert prefix_beam_search(log_probs, beam=4, nbest=nbest) == [texts[:nbest] for texts in all_four]


def test_a_beam_of_one():
    """One prefix at a time: where the network is sure, what the best path spells."""
    log_probs = random_lines(30, 4, 6, sharpness=30.0)
    found = prefix_beam_search(log_probs, beam=1)
    assert [texts[0].tokens for texts in found] == [path.tokens for path in best_path(log_probs)]
    assert all(a[0].score >= b.score - 1e-12 for a, b in zip(found, best_path(log_probs), strict=True))


def test_where_all_are_equal_the_first_is_taken():
    log_probs = torch.full((3, 2, 3), 1 / 3).log()
    assert [path.tokens for path in best_path(log_probs)] == [[], []]
    once = prefix_beam_search(log_probs, beam=4, nbest=4)
    assert once == prefix_beam_search(log_probs, beam=4, nbest=4)
    assert once[0] == once[1]


def test_lines_of_blanks_and_lines_that_are_half_empty():
    sure = math.log1p(-1e-6), math.log(1e-6)
    log_probs = torch.full((50, 2, 2), sure[1], dtype=torch.float64)
    log_probs[:, :, 0] = sure[0]
    log_probs[10:12, 1] = torch.tensor(sure[::-1], dtype=torch.float64)
    for found in (best_path(log_probs), [texts[0] for texts in prefix_beam_search(log_probs)]):
        assert [each.tokens for each in found] == [[], [1]]
        assert [each.spans for each in found] == [[], [(10, 11)]]
        assert found[0].score == pytest.approx(50 * sure[0], abs=1e-12)
        assert 0.9999 < found[1].confidences[0] < 1
        assert 0.9999 < found[1].confidence < 1


def test_a_line_of_certain_symbols_has_no_blank_to_fall_back_on():
    log_probs = torch.full((4, 1, 3), -math.inf, dtype=torch.float64)
    for t, c in enumerate([1, 1, 2, 1]):
        log_probs[t, 0, c] = 0.0
    assert best_path(log_probs)[0].tokens == [1, 2, 1]
    only = prefix_beam_search(log_probs, nbest=4)[0]
    assert [(each.tokens, each.score, each.spans) for each in only] == [([1, 2, 1], 0.0, [(0, 1), (2, 2), (3, 3)])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_any_precision(dtype):
    log_probs = random_lines(12, 3, 5, sharpness=2.0, dtype=dtype)
    assert best_path(log_probs) == best_path(log_probs.double())
    assert prefix_beam_search(log_probs, nbest=3) == prefix_beam_search(log_probs.double(), nbest=3)


def test_no_lines_and_no_frames():
    for found in (best_path, prefix_beam_search):
        assert found(torch.zeros(4, 0, 3)) == []
    assert [path.tokens for path in best_path(torch.zeros(0, 2, 3))] == [[], []]
    assert [[text.tokens for text in texts] for texts in prefix_beam_search(torch.zeros(0, 2, 3))] == [[[]], [[]]]


def test_probabilities_are_those_of_all_paths():
    log_probs, lengths = random_lines(30, 4, 6, sharpness=10.0), [30, 22, 7, 30]
    for n, texts in enumerate(prefix_beam_search(log_probs, lengths, beam=40, **EXACT)):
        whole = log_probability(log_probs[:, [n]], lengths[n : n + 1], [texts[0].tokens])
        assert texts[0].log_probability == pytest.approx(float(whole), abs=0.01)


def test_a_language_model_decides_between_equals():
    log_probs = torch.tensor([[0.02, 0.49, 0.49]] * 1).log()[:, None]
    table = torch.tensor([[0.1, 0.1, 0.8]] * 3).log()
    assert prefix_beam_search(log_probs)[0][0].tokens == [1]
    assert prefix_beam_search(log_probs, language_model=Bigram(table))[0][0].tokens == [2]
    assert prefix_beam_search(log_probs, language_model=Bigram(table), lm_weight=0)[0][0].tokens == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "beam must be a whole number of at least 1, not 0"),
        ({"beam": 2, "nbest": 3}, "widen the beam"),
        ({"beam": 10**30}, "beam must be at most 65,536"),
        ({"most_symbols": 1.5}, "most_symbols must be a whole number"),
        ({"lm_weight": -1.0}, "lm_weight must be a number from 0 to 1,000,000, not -1"),
        ({"lm_weight": 1e308}, "lm_weight must be a number from 0 to 1,000,000"),
        ({"insertion": math.nan}, "insertion must be a number from -1,000,000 to 1,000,000, not nan"),
        ({"insertion": -math.inf}, "insertion must be a number from"),
        ({"least_probability": 1.0}, "least_probability must be at least 0 and below 1"),
        ({"blank": 3}, "blank must be one of the 3 classes"),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigError, match=message):
        prefix_beam_search(random_lines(2, 1, 3), **options)


@pytest.mark.parametrize("decode", [best_path, prefix_beam_search])
def test_what_cannot_be_decoded(decode):
    log_probs = random_lines(5, 3, 4)
    with pytest.raises(ConfigError, match=r"log_softmax"):
        decode(torch.randn(5, 3, 4))
    for shape in ((5, 3), (5, 3, 4, 1)):
        with pytest.raises(ShapeError, match=r"\[T, N, C\]"):
            decode(torch.zeros(shape))
    with pytest.raises(ShapeError, match="floating-point"):
        decode(torch.zeros(5, 3, 4, dtype=torch.int64))
    with pytest.raises(ShapeError, match="between 0 and"):
        decode(log_probs, [6, 1, 1])
    log_probs[3, 1, 2] = math.nan
    decode(log_probs, [5, 3, 5])
    with pytest.raises(NoSequenceError, match="frame 3 of line 1 holds NaN"):
        decode(log_probs)
    log_probs[3, 1] = -math.inf
    with pytest.raises(NoSequenceError, match="frame 3 of line 1 says that every class is impossible"):
        decode(log_probs)


def test_language_models_that_do_not_fit():
    log_probs = random_lines(5, 2, 4)
    with pytest.raises(ShapeError, match=r"\[2, 4\]; it has given \[2, 5\]"):
        prefix_beam_search(log_probs, language_model=Bigram(random_lines(5, 1, 5)[:, 0]))
    with pytest.raises(ConfigError, match=r"at most 0, not 3"):
        prefix_beam_search(log_probs, language_model=Bigram(torch.full((4, 4), 3.0)))
    with pytest.raises(NonFiniteError, match="NaN"):
        prefix_beam_search(log_probs, language_model=Bigram(torch.full((4, 4), math.nan)))

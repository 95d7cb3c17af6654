"""Beam search of decoders: judged by listing all sequences, and by greedy decoding."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gateflow.decoding.beam import beam_search
from gateflow.decoding.beam.options import Options
from gateflow.errors import ArgumentTypeError, ConfigError, NonFiniteError, NoSequenceError, ShapeError

END = 1


class Table:
    """A decoder whose distribution depends on the line, the two tokens before and the step; it attends at random."""

    def __init__(self, lines, V, S=4, sharpness=1.0, seed=0, attends=False):
        generator = torch.Generator().manual_seed(seed)
        scores = sharpness * torch.randn(lines, 7, V, V, V, generator=generator, dtype=torch.float64)
        self.log_probs = scores.log_softmax(-1)
        self.attention = torch.randn(lines, 7, V, S, generator=generator, dtype=torch.float64).softmax(-1)
        self.lines, self.attends, self.rows_asked = lines, attends, 0

    def begin(self, lines=None):
        lines = torch.arange(self.lines) if lines is None else torch.tensor(lines)
        return {"line": lines, "before": (torch.zeros_like(lines), [torch.zeros_like(lines)]), "none": None}

    def step(self, state, tokens):
        line, (before, (step,)) = state["line"], state["before"]
        self.rows_asked += len(tokens)
        at = step.clamp(max=6)
        new = {"line": line, "before": (tokens, [step + 1]), "none": None}
        found = self.log_probs[line, at, before, tokens], new
        return (*found, self.attention[line, at, tokens]) if self.attends else found


def score(table, line, tokens, alpha=0.0, beta=0.0, sources=4):
    """A complete sequence, step by step."""
    before, last, log_probs, attention = 0, 0, [], torch.zeros(4, dtype=torch.float64)
    for t, token in enumerate([*tokens, END]):
        log_probs.append(float(table.log_probs[line, min(t, 6), before, last, token]))
        attention = attention + table.attention[line, min(t, 6), last]
        before, last = last, token
    total = sum(log_probs)
    value = total / ((5 + len(log_probs)) / 6) ** alpha
    return value + beta * float(attention[:sources].clamp(1e-10, 1.0).log().sum()), total, log_probs


def greedy(table, line, min_length, max_length):
    tokens, before, last = [], 0, 0
    while True:
        row = table.log_probs[line, min(len(tokens), 6), before, last].clone()
        if len(tokens) < min_length:
            row[END] = -math.inf
        token = END if len(tokens) == max_length else int(row.argmax())
        if token == END:
            return tokens
        tokens.append(token)
        before, last = last, token


def all_sequences(V, shortest, longest):
    for n in range(shortest, longest + 1):
        yield from itertools.product([v for v in range(V) if v != END], repeat=n)


def run(table, lines=None, **options):
    lines = list(range(table.lines)) if lines is None else lines
    return beam_search(table, table.begin(lines), rows=len(lines), start=0, end=END, **options)


@settings(max_examples=25)
@given(
    st.integers(2, 4),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.6, 1.0]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 99),
)
def test_full_width_is_all_sequences(V, shortest, more, alpha, beta, seed):
    longest = shortest + min(more, 5 - V)
    table = Table(3, V, seed=seed, attends=True)
    sources = [4, 2, 3]
    found = run(
        table,
        beam=200,
        nbest=200,
        min_length=shortest,
        max_length=longest,
        length_penalty=alpha,
        coverage_penalty=beta,
        source_lengths=sources,
    )
    for n in range(3):
        wanted = {y: score(table, n, y, alpha, beta, sources[n]) for y in all_sequences(V, shortest, longest)}
        assert {tuple(each.tokens) for each in found[n]} == wanted.keys()
        assert len(found[n]) == len(wanted)
        for each in found[n]:
            value, total, log_probs = wanted[tuple(each.tokens)]
            assert each.score == pytest.approx(value, abs=1e-10)
            assert each.log_probability == pytest.approx(total, abs=1e-10)
            assert each.log_probs == pytest.approx(log_probs, abs=1e-10)
            assert each.attention.shape == (len(each.tokens) + 1, 4)
            last = [0, *each.tokens]
            steps = [table.attention[n, min(t, 6), token] for t, token in enumerate(last)]
            torch.testing.assert_close(each.attention, torch.stack(steps))
        scores = [each.score for each in found[n]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("shortest", "longest"), [(0, 12), (2, 3), (0, 0), (4, 30)])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(shortest, longest, alpha):
    table = Table(20, 5, sharpness=2.0)
    found = run(table, beam=1, min_length=shortest, max_length=longest, length_penalty=alpha)
    for n, (each,) in enumerate(found):
        assert each.tokens == greedy(table, n, shortest, longest)
        assert each.score == pytest.approx(score(table, n, each.tokens, alpha)[0], abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_greedy_is_a_candidate(alpha):
    better = 0
    for seed in range(20):
        table = Table(10, 6, sharpness=2.0, seed=seed)
        options = {"beam": 2, "length_penalty": alpha, "max_length": 12}
        kept, without = run(table, **options), run(table, keep_greedy=False, **options)
        for n, ((a,), (b,)) in enumerate(zip(kept, without, strict=True)):
            theirs = score(table, n, greedy(table, n, 0, 12), alpha)[0]
            assert a.score >= theirs - 1e-12
            assert a.score >= b.score
            assert a.score == pytest.approx(max(b.score, theirs), abs=1e-12)
            better += theirs > b.score + 1e-9
    assert better > 0, "no draw in which it made a difference"


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("attends", [False, True])
def test_a_line_is_decoded_the_same_in_any_batch(alpha, attends):
    table = Table(32, 6, sharpness=1.5, attends=attends)
    longest = [3 + n % 9 for n in range(32)]
    options = {"beam": 4, "nbest": 3, "length_penalty": alpha, "coverage_penalty": 0.2 if attends else 0.0}
    together = run(table, max_length=longest, **options)
    backwards = run(table, list(range(31, -1, -1)), max_length=torch.tensor(longest).flip(0), **options)[::-1]
    alone = [run(table, [n], max_length=longest[n], **options)[0] for n in range(32)]
    assert together == backwards == alone
    for texts, ones in zip(together, alone, strict=True):
        for a, b in zip(texts, ones, strict=True):
            assert (a.attention is None) is not attends
            assert a.attention is None or torch.equal(a.attention, b.attention)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_how_many_are_asked_for_changes_not_the_best(alpha):
    for seed in range(10):
        table = Table(8, 5, seed=seed)
        found = [run(table, beam=5, nbest=n, length_penalty=alpha, max_length=15) for n in (1, 2, 5)]
        assert [texts[0] for texts in found[0]] == [texts[0] for texts in found[1]] == [texts[0] for texts in found[2]]
        for texts in found[2]:
            assert len({tuple(each.tokens) for each in texts}) == len(texts)


def test_lines_that_are_done_cost_nothing():
    """One that ends at once, beside one that goes on."""
    table = Table(2, 4)
    table.log_probs[0, :, :, :, :] = torch.tensor([1e-9, 1 - 3e-9, 1e-9, 1e-9], dtype=torch.float64).log()
    table.log_probs[1, :, :, :, END] = -math.inf
    table.log_probs[1, 6, :, :, END] = 0.0
    (a,), (b,) = run(table, beam=3, max_length=7)
    assert (len(a.tokens), len(b.tokens)) in {(0, 6), (0, 7)}
    both, table.rows_asked = table.rows_asked, 0
    run(table, [1], beam=3, max_length=7)
    assert both == table.rows_asked + 1


def test_where_all_are_equal_the_first_is_taken():
    table = Table(2, 5)
    table.log_probs[:] = math.log(1 / 5)
    for beam in (1, 2, 4):
        found = run(table, beam=beam, max_length=3, length_penalty=0.5)
        assert found[0] == found[1]
        assert found == run(table, beam=beam, max_length=3, length_penalty=0.5)
    assert run(table, beam=1, max_length=3)[0][0].tokens == [0, 0, 0]


def test_states_are_put_in_order():
    class Own:
        def __init__(self, table):
            self.table = table

        def select(self, index):
            return Own({k: v[index] for k, v in self.table.items()})

    table = Table(4, 5, sharpness=2.0)
    plain = run(table, beam=3, max_length=8)

    class Wrapped:
        def step(self, state, tokens):
            inner = {"line": state.table["line"], "before": (state.table["a"], [state.table["b"]]), "none": None}
            log_probs, new = table.step(inner, tokens)
            return log_probs, Own({"line": new["line"], "a": new["before"][0], "b": new["before"][1][0]})

    start = Own(
        {"line": torch.arange(4), "a": torch.zeros(4, dtype=torch.int64), "b": torch.zeros(4, dtype=torch.int64)}
    )
    assert beam_search(Wrapped(), start, rows=4, start=0, end=END, beam=3, max_length=8) == plain
    with pytest.raises(ArgumentTypeError, match="found Wrapped"):
        beam_search(OfLogits(torch.zeros(3, 3)), {"x": Wrapped()}, rows=2, start=0, end=1)


def test_no_lines():
    assert beam_search(Table(1, 3), None, rows=0, start=0, end=1) == []


class OfLogits:
    def __init__(self, table):
        self.table = table

    def step(self, state, tokens):
        return self.table[tokens], state


def test_what_cannot_be():
    uniform = torch.full((4, 4), 0.25).log()
    for options, error, message in (
        ({"beam": 2, "nbest": 3}, ConfigError, "widen the beam"),
        ({"beam": 0}, ConfigError, "beam must be a whole number of at least 1"),
        ({"beam": 10**30}, ConfigError, "beam must be at most 65,536"),
        ({"max_length": [9, 10**400]}, ConfigError, "max_length must be at most 4,194,304"),
        ({"length_penalty": -1.0}, ConfigError, "length_penalty must be a number from 0 to 50"),
        ({"coverage_penalty": 1.0}, ConfigError, "coverage_penalty needs a decoder"),
        ({"min_length": 5, "max_length": 4}, ConfigError, "max_length must be at least min_length=5, found 4"),
        ({"max_length": [3]}, ShapeError, "max_length must be one whole number, or one for each of 2 lines"),
        ({"end": 4}, ConfigError, "must be among the 4 tokens"),
        ({"source_lengths": [3]}, ShapeError, "source_lengths must be 2 whole numbers"),
    ):
        with pytest.raises(error, match=message):
            beam_search(OfLogits(uniform), None, rows=2, **{"start": 0, "end": 1, **options})
    # The longest and the strongest penalty together are a number.
    longest = Options(0, 1, 1, 1, length_penalty=50.0, coverage_penalty=0.0, min_length=0, keep_greedy=True)
    assert math.isfinite(longest.divisor((1 << 22) + 1))
    with pytest.raises(ConfigError, match="log_softmax"):
        beam_search(OfLogits(torch.randn(4, 4) + 3), None, rows=2, start=0, end=1)
    with pytest.raises(NonFiniteError, match="NaN"):
        beam_search(OfLogits(uniform * math.nan), None, rows=2, start=0, end=1)
    with pytest.raises(ShapeError, match=r"\[R, V\] for R = 2 rows"):
        beam_search(OfLogits(uniform[:, 0]), None, rows=2, start=0, end=1)
    endless = uniform.clone()
    endless[:, 1] = -math.inf
    with pytest.raises(NoSequenceError, match="line 0"):
        beam_search(OfLogits(endless), None, rows=2, start=0, end=1, max_length=5)

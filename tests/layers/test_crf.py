"""The CRF: judged by listing all sequences, by `pytorch-crf`, and by finite differences."""

import copy
import io
import itertools
import math

import pytest
import torch
import torchcrf
from hypothesis import example, given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

import gateflow
from gateflow import LinearChainCRF
from gateflow.errors import ArgumentTypeError, ConfigError, NoSequenceError, ShapeError
from gateflow.layers import chain as chains
from gateflow.layers import crf as crfs

INF = float("inf")
# Any tags but 2 after 0, in B-I-O's manner: 0 is O, 1 is B, 2 is I.
BIO = {"begin": [True, True, False], "inner": [[True, True, False], [True] * 3, [True] * 3]}


def crf_of(K, scale=1.0, dtype=torch.float64, **masks):
    crf = LinearChainCRF(K, dtype=dtype, **masks)
    for weight in crf.parameters():
        torch.nn.init.normal_(weight, std=scale)
    return crf


def random_masks(K, generator):
    """Masks that forbid about a third, under which there are sequences."""
    while True:
        begin, inner, end = (torch.rand(s, generator=generator) < 0.67 for s in ((K,), (K, K), (K,)))
        try:
            LinearChainCRF(K, begin=begin, inner=inner, end=end)
        except ConfigError:
            continue
        return {"begin": begin, "inner": inner, "end": end}


def all_sequences(crf, scores, n):
    """Of one row `[T, K]`: every sequence of `n` tags with its score, forbidden ones with -inf. One by one."""
    begin = crf.begin.masked_fill(~crf.may_begin, -INF)
    inner = crf.transitions.masked_fill(~crf.may_follow, -INF)
    end = crf.end.masked_fill(~crf.may_end, -INF)
    sequences = list(itertools.product(range(crf.num_tags), repeat=n))
    totals = []
    for y in sequences:
        terms = [scores[t, tag] for t, tag in enumerate(y)] + [inner[i, j] for i, j in itertools.pairwise(y)]
        terms += [begin[y[0]], end[y[-1]]] if y else [scores.new_zeros(())]
        totals.append(torch.stack(terms).sum())
    return sequences, torch.stack(totals)


def judged(crf, scores, lengths, allowed=None):
    """Every answer of a CRF by listing: log-partition, marginals, and sequences with log-probabilities, best first."""
    partitions, ranked, found = [], [], scores.new_zeros(scores.shape)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -INF)
    for b, n in enumerate(lengths):
        sequences, totals = all_sequences(crf, scores[:, b], n)
        partition = totals.logsumexp(0)
        partitions.append(partition)
        totals, partition = totals.detach(), partition.detach()
        probabilities = (totals - partition).exp()
        for y, p in zip(sequences, probabilities, strict=True):
            for t, tag in enumerate(y):
                found[t, b, tag] += p
        possible = [(float(s - partition), y) for y, s in zip(sequences, totals, strict=True) if s > -INF]
        ranked.append(sorted(possible, reverse=True))
    return torch.stack(partitions), found.detach(), ranked


def close(found, wanted, tolerance=1e-10):
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def path_taken(crf, scores, lengths=None):
    """Whether products of matrices were enough."""
    with torch.no_grad():
        return "logarithms" if chains._Sums.by_products(crf._chain(scores, lengths)) is None else "products"


@pytest.fixture(params=["products", "logarithms"])
def recursion(request, monkeypatch):
    """Both ways to the sums, whichever the numbers would have taken."""
    if request.param == "logarithms":
        monkeypatch.setattr(chains._Sums, "by_products", lambda chain: None)
    return request.param


@pytest.mark.parametrize(("K", "T"), [(1, 3), (2, 5), (3, 4), (4, 5)])
@pytest.mark.parametrize("masked", [False, True])
def test_all_sequences(K, T, masked, recursion):
    generator = torch.Generator().manual_seed(K)
    crf = crf_of(K, **(random_masks(K, generator) if masked else {}))
    lengths = [n for n in (T, 1, 0, T - 1, 2) if possible(crf, n)]
    scores = torch.randn(T, len(lengths), K, dtype=torch.float64, requires_grad=True)
    partitions, probabilities, ranked = judged(crf, scores, lengths)
    close(crf.log_partition(scores, lengths), partitions)
    close(crf.marginals(scores, lengths), probabilities)
    close(crf.marginals(scores.detach(), lengths), probabilities)
    n = 7
    tags, log_probabilities = crf.n_best(scores, lengths, n)
    decoded = crf.decode(scores, lengths)
    for b, (row, length) in enumerate(zip(ranked, lengths, strict=True)):
        there = min(n, len(row))
        close(log_probabilities[:there, b], torch.tensor([p for p, _ in row[:n]], dtype=torch.float64))
        assert [tuple(y) for y in tags[:there, :length, b].tolist()] == [y for _, y in row[:n]]
        assert bool((log_probabilities[there:, b] == -INF).all())
        assert bool((tags[there:, :, b] == -1).all())
        assert bool((tags[:, length:, b] == -1).all())
        assert torch.equal(decoded[:, b], tags[0, :, b])
        for p, y in row[:3] + row[-3:]:
            padded = torch.tensor([*y, *[-100] * (T - length)])
            close(crf.log_likelihood(scores[:, [b]], padded[:, None], [length])[0].item(), p)


def possible(crf, n):
    """Whether there is a sequence of `n` tags."""
    reached = crf.may_begin
    for _ in range(n - 1):
        reached = (reached[:, None] & crf.may_follow).any(0)
    return n == 0 or bool((reached & crf.may_end).any())


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_all_sequences(masked, recursion):
    crf, lengths = crf_of(3, **(BIO if masked else {})), [4, 0, 1, 3]
    scores = torch.randn(4, 4, 3, dtype=torch.float64, requires_grad=True)
    cotangent, inputs = torch.randn(4, dtype=torch.float64), [scores, *crf.parameters()]
    found = torch.autograd.grad(crf.log_partition(scores, lengths), inputs, cotangent)
    wanted = torch.autograd.grad(judged(crf, scores, lengths)[0], inputs, cotangent)
    for name, a, b in zip(["scores", *dict(crf.named_parameters())], found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=name)
    if masked:
        assert found[1][0, 2] == 0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("answer", ["log_partition", "log_likelihood", "marginals"])
def test_finite_differences(masked, answer):
    crf, lengths = crf_of(3, **(BIO if masked else {})), [4, 0, 1, 2]
    scores = torch.randn(4, 4, 3, dtype=torch.float64, requires_grad=True)
    tags = torch.tensor([[0, 1, 1, 1], [1, -1, 7, 2], [2, -1, -100, 9], [0, -1, 3, -1]])
    names = list(dict(crf.named_parameters()))

    def asked(scores, *weights):
        arguments = (scores, tags, lengths) if answer == "log_likelihood" else (scores, lengths)
        return _called(crf, answer, dict(zip(names, weights, strict=True)), arguments)

    inputs = (scores, *crf.parameters())
    assert gradcheck(asked, inputs)
    assert gradgradcheck(asked, inputs)


class _Door(torch.nn.Module):
    """`functional_call` calls `forward`; this one is any method."""

    def __init__(self, crf, answer):
        super().__init__()
        self.crf, self.answer = crf, answer

    def forward(self, *arguments):
        return getattr(self.crf, self.answer)(*arguments)


def _called(crf, answer, weights, arguments):
    weights = {f"crf.{name}": weight for name, weight in weights.items()}
    return torch.func.functional_call(_Door(crf, answer), weights, arguments)


@given(st.data())
def test_any_shape_mask_and_length(data):
    K, T, B = (data.draw(st.integers(low, high)) for low, high in ((1, 3), (0, 4), (0, 3)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    crf = crf_of(K, scale=data.draw(st.sampled_from([0.1, 3.0, 300.0])), **random_masks(K, generator))
    lengths = data.draw(
        st.lists(st.sampled_from([n for n in range(T + 1) if possible(crf, n)]), min_size=B, max_size=B)
    )
    scores = torch.randn(T, B, K, generator=generator, dtype=torch.float64) * data.draw(st.sampled_from([1.0, 300.0]))
    found = crf.log_partition(scores, lengths), crf.marginals(scores, lengths)
    tags, log_probabilities = crf.n_best(scores, lengths, n=2)
    assert tags.shape == (2, T, B)
    assert torch.equal(crf.decode(scores, lengths), tags[0])
    if B:
        partitions, probabilities, ranked = judged(crf, scores, lengths)
        close(found, (partitions, probabilities))
        close(log_probabilities[0], torch.tensor([row[0][0] for row in ranked], dtype=torch.float64))
        assert [tuple(tags[0, :n, b].tolist()) for b, n in enumerate(lengths)] == [row[0][1] for row in ranked]
    assert [tuple(part.shape) for part in found] == [(B,), (T, B, K)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("scale", "path"), [(1.0, "products"), (20.0, "products"), (1e4, "logarithms")])
def test_no_score_is_too_wide(dtype, scale, path):
    crf = crf_of(4, scale, dtype)
    scores = (torch.randn(5, 6, 4, dtype=dtype) * scale).requires_grad_()
    lengths = [5, 4, 3, 2, 1, 0]
    assert path_taken(crf, scores, lengths) == path
    wide = copy.deepcopy(crf).double()
    partitions, probabilities, ranked = judged(wide, scores.double(), lengths)
    found = crf.log_partition(scores, lengths)
    torch.testing.assert_close(found, partitions.to(dtype), rtol=1e-6 if dtype == torch.float32 else 1e-13, atol=1e-10)
    close(crf.marginals(scores, lengths), probabilities.to(dtype), 1e-6 if dtype == torch.float32 else 1e-10)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    close(gradient, probabilities.to(dtype), 1e-6 if dtype == torch.float32 else 1e-10)
    best = [tuple(crf.decode(scores, lengths)[:n, b].tolist()) for b, n in enumerate(lengths)]
    assert best == [row[0][1] for row in ranked]


def test_long_sequences_neither_overflow_nor_underflow():
    crf, T = LinearChainCRF(5), 5000
    for offset in (-300.0, 0.0, 300.0):
        found = crf.log_partition(torch.full((T, 1, 5), offset))
        torch.testing.assert_close(found, torch.tensor([T * (math.log(5) + offset)]))


def test_a_row_that_differs_too_much_for_products_does_not_change_the_others():
    # In the second row tag 0 is best by far at each step, and nothing may come after it but the end.
    crf = crf_of(3, inner=[[False] * 3, [True] * 3, [True] * 3])
    scores = torch.randn(6, 2, 3, dtype=torch.float64)
    alone = crf.log_partition(scores[:, :1]), crf.marginals(scores[:, :1])
    scores[:, 1, 0] += 1e4
    assert path_taken(crf, scores[:, :1]) == "products"
    assert path_taken(crf, scores) == "logarithms"
    close((crf.log_partition(scores)[:1], crf.marginals(scores)[:, :1]), alone, 1e-12)


@pytest.mark.parametrize("scale", [1e2, 1e3, 1e4])
def test_only_the_worse_of_two_ways_is_open(scale):
    """What products lose is noticed: the tag that is best by far at each step has nothing after it but the end."""
    inner = torch.ones(3, 3, dtype=torch.bool)
    inner[0] = False
    crf = LinearChainCRF(3, inner=inner, dtype=torch.float64)
    scores = torch.zeros(4, 2, 3, dtype=torch.float64)
    scores[:, :, 0] = scale
    partitions, probabilities, _ = judged(crf, scores, [4, 3])
    torch.testing.assert_close(crf.log_partition(scores, [4, 3]), partitions)
    close(crf.marginals(scores, [4, 3]), probabilities)


def answers(crf, scores, tags, lengths):
    """Everything that a CRF says, and its gradients."""
    scores = scores.detach().requires_grad_()
    likelihood = crf.log_likelihood(scores, tags, lengths)
    gradients = torch.autograd.grad(likelihood.sum(), [scores, *crf.parameters()])
    with torch.no_grad():
        found = [crf.log_partition(scores, lengths), crf.marginals(scores, lengths), crf.decode(scores, lengths)]
        return [likelihood.detach(), *found, *crf.n_best(scores, lengths, 3)], gradients


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("rubbish", [float("nan"), INF, -INF, 1e30])
def test_padding_is_never_seen(rubbish, scale):
    crf, lengths = crf_of(3, scale, **BIO), torch.tensor([2, 5, 0, 3])
    scores, tags = torch.randn(5, 4, 3).double() * scale, torch.zeros(5, 4, dtype=torch.int64)
    valid = torch.arange(5)[:, None] < lengths
    wanted, gradients = answers(crf, scores, tags, lengths)
    scores = torch.where(valid[:, :, None], scores, rubbish)
    found, changed = answers(crf, scores, torch.where(valid, tags, -100), lengths)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    torch.testing.assert_close(changed, gradients, rtol=0, atol=0)
    assert bool((changed[0][~valid] == 0).all())


@pytest.mark.parametrize("K", [2, 17])
def test_a_row_has_the_same_answers_in_any_batch(K):
    crf, lengths = crf_of(K, 0.3, torch.float32), torch.tensor([9, 1, 0, 12, 7, 12, 3])
    scores, tags = torch.randn(12, 7, K), torch.randint(0, K, (12, 7))
    (likelihood, partition, marginals, decoded, tags_n, probabilities), (gradient, *_) = answers(
        crf, scores, tags, lengths
    )
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = answers(crf, scores[:, order], tags[:, order], lengths[order])[0][3]
    assert torch.equal(shuffled, decoded[:, order])
    for b, n in enumerate(lengths.tolist()):
        alone, (change, *_) = answers(crf, scores[:n, b : b + 1], tags[:n, b : b + 1], [n])
        # Computed in float64, so that what the order of sums changes is gone in float32.
        assert torch.equal(alone[0][0], likelihood[b])
        assert torch.equal(alone[1][0], partition[b])
        torch.testing.assert_close(alone[2][:, 0], marginals[:n, b], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(change[:, 0], gradient[:n, b], rtol=1e-6, atol=1e-7)
        assert torch.equal(alone[3][:, 0], decoded[:n, b])
        assert torch.equal(alone[4][:, :, 0], tags_n[:, :n, b])
        torch.testing.assert_close(alone[5][:, 0], probabilities[:, b])


def test_any_strides():
    crf, lengths = crf_of(3), [2, 4, 1]
    scores, tags = torch.randn(4, 3, 3).double(), torch.randint(0, 3, (4, 3))
    wanted = answers(crf, scores, tags, lengths)
    batch_first = scores.transpose(0, 1).contiguous().transpose(0, 1)
    sparse = torch.randn(8, 3, 6).double()[::2, :, ::2].copy_(scores)
    for other in (batch_first, sparse):
        assert not other.is_contiguous()
        torch.testing.assert_close(answers(crf, other, tags.t().contiguous().t(), lengths), wanted, rtol=0, atol=0)
    one = scores[:, :1].expand(4, 3, 3)
    torch.testing.assert_close(answers(crf, one, tags, lengths), answers(crf, one.clone(), tags, lengths))


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.bfloat16, torch.float32, torch.float64])
def test_types(given, weights):
    crf, tags = crf_of(3, dtype=weights), torch.zeros(4, 2, dtype=torch.int32)
    scores = torch.randn(4, 2, 3, dtype=given, requires_grad=True)
    result = torch.float64 if torch.float64 in (given, weights) else torch.float32
    likelihood = crf.log_likelihood(scores, tags)
    likelihood.sum().backward()
    assert (scores.grad.dtype, crf.transitions.grad.dtype) == (given, weights)
    found = likelihood, crf.log_partition(scores), crf.marginals(scores), crf.n_best(scores)[1]
    assert {part.dtype for part in found} == {result}
    wide = copy.deepcopy(crf).double().log_likelihood(scores.double(), tags)
    torch.testing.assert_close(likelihood, wide.to(result))


def test_devices_without_float64(monkeypatch):
    crf, lengths = crf_of(5, dtype=torch.float32, inner=torch.rand(5, 5) < 0.8), torch.tensor([9, 0, 4, 1])
    scores, tags = 3 * torch.randn(9, 4, 5), torch.randint(0, 5, (9, 4))
    wanted = answers(crf, scores, tags, lengths)
    monkeypatch.setattr(crfs, "_computed_in", lambda device: torch.float32)
    assert path_taken(crf, scores, lengths) == "products"
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(answers(crf, scores, tags, lengths), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_precision_of_products_and_autocast_change_nothing(precision):
    crf, scores, tags = crf_of(5, dtype=torch.float32), torch.randn(9, 4, 5), torch.randint(0, 5, (9, 4))
    wanted, before = answers(crf, scores, tags, None), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(answers(crf, scores, tags, None), wanted, rtol=0, atol=0)
    finally:
        torch.set_float32_matmul_precision(before)


@given(st.integers(0, 999), st.sampled_from([1, 64]))
@example(0, 64)
def test_what_is_forbidden_is_never_chosen(seed, B):
    generator = torch.Generator().manual_seed(seed)
    K, T = 4, 6
    masks = random_masks(K, generator)
    crf = crf_of(K, 5.0, torch.float32, **masks)
    lengths = torch.tensor([n for n in range(T + 1) if possible(crf, n)])
    lengths = lengths[torch.randint(0, len(lengths), (B,), generator=generator)]
    weights = [(crf.transitions, masks["inner"]), (crf.begin, masks["begin"]), (crf.end, masks["end"])]
    # Forbidden tags have the greatest weights.
    for weight, mask in weights:
        weight.data[~mask] = 50.0
    scores = torch.randn(T, B, K, generator=generator, requires_grad=True)
    tags, log_probabilities = crf.n_best(scores, lengths, 4)
    found = [(crf.decode(scores, lengths), log_probabilities[0]), *zip(tags, log_probabilities, strict=True)]
    for sequences, p in found:
        for b, n in enumerate(lengths.tolist()):
            y = sequences[:n, b].tolist()
            if n and p[b] > -INF:
                assert masks["begin"][y[0]]
                assert masks["end"][y[-1]]
                assert all(masks["inner"][i, j] for i, j in itertools.pairwise(y))
    marginals = crf.marginals(scores, lengths)
    rows = lengths > 0
    last = marginals[(lengths - 1)[rows], rows.nonzero()[:, 0]]
    assert bool((marginals[0][:, ~masks["begin"]] == 0).all())
    assert bool((last[:, ~masks["end"]] == 0).all())
    torch.testing.assert_close(marginals.sum(-1), (torch.arange(T)[:, None] < lengths).float())
    likelihood = crf.log_likelihood(scores, tags[0], lengths)
    torch.testing.assert_close(likelihood, log_probabilities[0])
    likelihood.sum().backward()
    for name, weight in [("scores", scores), *crf.named_parameters()]:
        assert bool(weight.grad.isfinite().all()), name
    for weight, mask in weights:
        assert bool((weight.grad[~mask] == 0).all())


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_forbidden_tags_have_a_likelihood_of_zero_and_no_gradient(scale):
    crf = crf_of(3, scale, **BIO)
    scores = (torch.randn(3, 3, 3).double() * scale).requires_grad_()
    tags = torch.tensor([[0, 2, 0], [2, 1, 1], [0, 0, 2]])
    found = crf.log_likelihood(scores, tags)
    assert found[:2].tolist() == [-INF, -INF]
    assert bool(found[2].isfinite())
    gradients = torch.autograd.grad(found.sum(), [scores, *crf.parameters()])
    alone = torch.autograd.grad(crf.log_likelihood(scores[:, 2:], tags[:, 2:]).sum(), [scores, *crf.parameters()])
    torch.testing.assert_close(gradients, alone, rtol=1e-12, atol=1e-12)


PAIRS = {"inner": [[False, True], [True, False]], "begin": [True, False], "end": [False, True]}


def test_lengths_of_which_there_is_no_sequence():
    crf = LinearChainCRF(2, **PAIRS)
    scores = torch.randn(3, 3, 2, requires_grad=True)
    lengths, tags = [2, 3, 0], torch.tensor([[0, 0, 0], [1, 1, 0], [0, 0, 0]])
    partition, likelihood = crf.log_partition(scores, lengths), crf.log_likelihood(scores, tags, lengths)
    assert (partition[1].item(), likelihood.tolist()) == (-INF, [0, -INF, 0])
    partition[:1].sum().backward()
    assert bool(scores.grad.isfinite().all())
    for ask in (crf.decode, crf.marginals, crf.n_best):
        with pytest.raises(
            NoSequenceError, match=r"row 1 has no sequence: begin, inner and end, .* its length, 3; allow"
        ):
            ask(scores, lengths)
        ask(scores[:2], [2, 2, 0])


@pytest.mark.parametrize("value", [float("nan"), INF])
def test_scores_that_are_no_numbers(value):
    crf, scores = LinearChainCRF(2), torch.zeros(3, 2, 2)
    scores[1, 1, 0] = value
    assert crf.log_partition(scores)[0].isfinite()
    assert not crf.log_partition(scores)[1].isfinite()
    for ask in (crf.decode, crf.marginals, crf.n_best):
        with pytest.raises(NoSequenceError, match="row 1 has no best sequence: its scores .* NaN or infinity; look"):
            ask(scores)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_sums_over_what_is_allowed(scale):
    crf, lengths = crf_of(3, scale, **BIO), [4, 2, 0, 3]
    scores = (torch.randn(4, 4, 3).double() * scale).requires_grad_()
    allowed = torch.rand(4, 4, 3) < 0.7
    allowed[1:, 1] = False
    allowed[:, 3] = torch.tensor([False, True, False])  # one sequence: 1 1 1
    found = crf.log_partition(scores, lengths, allowed)
    assert found[1] == -INF
    partitions, _, _ = judged(crf, scores, lengths, allowed)
    torch.testing.assert_close(found, partitions, rtol=1e-12, atol=1e-10)
    alone = crf.log_likelihood(scores[:, 3:], torch.ones(4, 1, dtype=torch.int64), [3])
    torch.testing.assert_close(found[3:] - crf.log_partition(scores, lengths)[3:], alone)
    for part in torch.autograd.grad(found[found > -INF].sum(), [scores, *crf.parameters()]):
        assert bool(part.isfinite().all())


def test_the_probability_of_a_span_is_that_of_its_sequences():
    crf, scores = crf_of(3, **BIO), torch.randn(5, 1, 3).double()
    allowed = torch.ones(5, 1, 3, dtype=torch.bool)
    # Words 1 and 2, and no more: B at 1, I at 2, no I at 3.
    allowed[1, 0], allowed[2, 0], allowed[3, 0] = (torch.tensor([t == k for t in range(3)]) for k in (1, 2, 9))
    allowed[3, 0, :2] = True
    # What a mask makes impossible is nothing that products lose.
    assert path_taken(crf, scores.masked_fill(~allowed, -INF)) == "products"
    found = (crf.log_partition(scores, allowed=allowed) - crf.log_partition(scores)).exp().item()
    _, _, (ranked,) = judged(crf, scores, [5])
    assert found == pytest.approx(sum(math.exp(p) for p, y in ranked if y[1:3] == (1, 2) and y[3] != 2), rel=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_a_tag_given_the_one_before_it(masked, recursion):
    """Their product over a row is the likelihood of its tags, and over a span the probability of the span."""
    generator = torch.Generator().manual_seed(5)
    crf = crf_of(3, **(random_masks(3, generator) if masked else {}))
    scores = torch.randn(5, 60, 3, generator=generator, dtype=torch.float64)
    tags = torch.randint(0, 3, (5, 60), generator=generator)
    lengths = torch.randint(0, 6, (60,), generator=generator)
    found = crf.conditionals(scores, tags, lengths)
    real = torch.arange(5)[:, None] < lengths
    close(torch.where(real, found, 1.0).prod(0), crf.log_likelihood(scores, tags, lengths).exp().detach())
    assert not found[~real].any()
    marginals = crf.marginals(scores[:, lengths > 3], lengths[lengths > 3]).detach()
    allowed = torch.ones(5, int((lengths > 3).sum()), 3, dtype=torch.bool)
    given = tags[:, lengths > 3]
    for t in (1, 2):
        allowed[t] = torch.nn.functional.one_hot(given[t], 3).bool()
    both = [crf.log_partition(scores[:, lengths > 3], lengths[lengths > 3], **o) for o in ({"allowed": allowed}, {})]
    span = marginals[1].gather(1, given[1, :, None])[:, 0] * found[2, lengths > 3]
    close(span, (both[0] - both[1]).exp().detach())


def theirs(crf):
    peer = torchcrf.CRF(crf.num_tags)
    with torch.no_grad():
        for weight, ours in (
            (peer.start_transitions, crf.begin),
            (peer.transitions, crf.transitions),
            (peer.end_transitions, crf.end),
        ):
            weight.copy_(ours)
    return peer.to(crf.begin.dtype)


@pytest.mark.parametrize("K", [1, 5, 17])
def test_against_pytorch_crf(K):
    crf = crf_of(K)
    peer, lengths = theirs(crf.float()).double(), torch.tensor([12, 1, 7, 3])
    crf.double()
    scores, tags = torch.randn(12, 4, K, dtype=torch.float64, requires_grad=True), torch.randint(0, K, (12, 4))
    mask = torch.arange(12)[:, None] < lengths
    ours, wanted = crf.log_likelihood(scores, tags, lengths), peer(scores, tags, mask, reduction="none")
    close(ours, wanted)
    cotangent = torch.randn(4, dtype=torch.float64)
    found = torch.autograd.grad(ours, [scores, crf.begin, crf.transitions, crf.end], cotangent)
    weights = [peer.start_transitions, peer.transitions, peer.end_transitions]
    close(found, torch.autograd.grad(wanted, [scores, *weights], cotangent))
    decoded = crf.decode(scores, lengths)
    assert [decoded[:n, b].tolist() for b, n in enumerate(lengths.tolist())] == peer.decode(scores, mask)


@pytest.mark.parametrize(("T", "B", "K"), [(0, 3, 2), (3, 0, 2), (0, 0, 1), (4, 2, 1), (1, 1, 1)])
def test_smallest_shapes(T, B, K):
    crf = LinearChainCRF(K)
    scores = torch.randn(T, B, K, requires_grad=True)
    tags = torch.zeros(T, B, dtype=torch.int64)
    for lengths in (None, [T] * B, torch.zeros(B, dtype=torch.int64)):
        likelihood = crf.log_likelihood(scores, tags, lengths)
        likelihood.sum().backward()
        assert scores.grad.shape == scores.shape
        if T == 0 or K == 1:
            assert likelihood.tolist() == [0.0] * B
        assert crf.decode(scores, lengths).shape == (T, B)
        assert crf.marginals(scores, lengths).shape == (T, B, K)
        best, log_probabilities = crf.n_best(scores, lengths, 3)
        assert (best.shape, log_probabilities.shape) == ((3, T, B), (3, B))


def test_gradients_go_where_they_are_asked_for():
    crf, scores, tags = crf_of(3), torch.randn(4, 2, 3).double(), torch.zeros(4, 2, dtype=torch.int64)
    crf.log_likelihood(scores, tags).sum().backward()
    assert all(weight.grad is not None for weight in crf.parameters())
    crf.requires_grad_(False)
    assert not crf.log_likelihood(scores, tags).requires_grad
    (gradient,) = torch.autograd.grad(crf.log_likelihood(scores.requires_grad_(), tags).sum(), scores)
    close(gradient, torch.nn.functional.one_hot(tags, 3) - crf.marginals(scores))


def test_many_cotangents_at_once():
    crf, scores = crf_of(3), torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    found = crf.log_partition(scores)
    many = torch.autograd.grad(found, [scores, *crf.parameters()], torch.eye(2).double(), True, is_grads_batched=True)
    for b in range(2):
        one = torch.autograd.grad(found[b], [scores, *crf.parameters()], retain_graph=True)
        torch.testing.assert_close([part[b] for part in many], list(one))


def test_inference_mode():
    crf, scores = crf_of(3), torch.randn(4, 2, 3).double()
    wanted = answers(crf, scores, torch.zeros(4, 2, dtype=torch.int64), [4, 3])[0]
    for scale in (1.0, 1e4):
        with torch.inference_mode():
            inside = scores * scale
            found = [crf.log_partition(inside, [4, 3]), crf.marginals(inside, [4, 3]), crf.decode(inside, [4, 3])]
        if scale == 1.0:
            close(found, wanted[1:4])


# torch's own look at tensors between two graphs; it hides the warning, but from those for whom warnings are errors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled():
    crf, layer = crf_of(3, dtype=torch.float32), torch.nn.Linear(4, 3)
    tags = torch.zeros(5, 2, dtype=torch.int64)

    def loss(x):
        return -crf.log_likelihood(layer(x).tanh(), tags, torch.tensor([5, 3])).mean()

    x = torch.randn(5, 2, 4)
    for function in (loss, lambda x: crf.decode(layer(x)), lambda x: crf.marginals(layer(x))):
        torch.testing.assert_close(torch.compile(function, backend="eager")(x), function(x))
    wanted = torch.autograd.grad(loss(x), list(layer.parameters()))
    torch.testing.assert_close(
        torch.autograd.grad(torch.compile(loss, backend="aot_eager")(x), [*layer.parameters()]), wanted
    )


def test_torch_func():
    crf, scores = crf_of(3), torch.randn(4, 2, 3).double()
    tags = torch.zeros(4, 2, dtype=torch.int64)
    found = torch.func.grad(lambda e: crf.log_likelihood(e, tags, [4, 2]).sum())(scores)
    (wanted,) = torch.autograd.grad(crf.log_likelihood(scores.requires_grad_(), tags, [4, 2]).sum(), scores)
    close(found, wanted)


def test_states_are_weights_and_masks():
    crf = crf_of(3, **BIO)
    assert {name: tuple(part.shape) for name, part in crf.state_dict().items()} == {
        "begin": (3,),
        "end": (3,),
        "may_begin": (3,),
        "may_end": (3,),
        "may_follow": (3, 3),
        "transitions": (3, 3),
    }
    with torch.device("meta"):
        other = LinearChainCRF(3, **BIO)
    assert {part.device.type for part in other.state_dict().values()} == {"meta"}
    assert "LinearChainCRF(3" in repr(other)
    other = other.to_empty(device="cpu").double()
    other.load_state_dict(crf.state_dict())
    scores = torch.randn(4, 2, 3).double()
    assert torch.equal(crf.log_partition(scores), other.log_partition(scores))
    assert torch.equal(copy.deepcopy(crf).log_partition(scores), other.log_partition(scores))
    assert LinearChainCRF(3, device="meta").begin.is_meta
    assert repr(crf) == "LinearChainCRF(3, 1 begins forbidden, 1 transitions forbidden)"


def test_a_model_that_was_saved_whole():
    crf, file = crf_of(3, **BIO), io.BytesIO()
    torch.save(crf, file)
    file.seek(0)
    with torch.serialization.safe_globals(gateflow.safe_globals()):
        other = torch.load(file)
    assert torch.equal(other.transitions, crf.transitions)


def test_weights_of_minus_infinity_forbid_too():
    crf, masked = crf_of(3), crf_of(3, **BIO)
    masked.load_state_dict({name: part for name, part in crf.state_dict().items() if "may" not in name}, strict=False)
    with torch.no_grad():
        crf.begin[2], crf.transitions[0, 2] = -INF, -INF
    scores, tags = torch.randn(4, 2, 3).double(), torch.zeros(4, 2, dtype=torch.int64)
    (found, gradients), (wanted, others) = (answers(each, scores, tags, [4, 2]) for each in (crf, masked))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients, others)


WRONG_MASKS = [
    ({"num_tags": 0}, ConfigError, "num_tags must be at least 1, got 0"),
    ({"num_tags": 2.0}, ArgumentTypeError, "num_tags should be of type int, got: float"),
    ({"num_tags": True}, ArgumentTypeError, "num_tags should be of type int, got: bool"),
    ({"begin": [1, 0]}, ConfigError, r"begin must be truth values of shape \[2\], .* found torch.int64 of shape \[2\]"),
    ({"inner": [True, False]}, ConfigError, r"inner must be truth values of shape \[2, 2\]"),
    ({"inner": [[True], [True, False]]}, ConfigError, r"inner must be truth values of shape \[2, 2\]"),
    ({"end": torch.zeros(2)}, ConfigError, "end must be truth values .* found torch.float32"),
    ({"begin": [False, False]}, ConfigError, r"forbid every sequence.*reached are tags \[\], and ends \[0, 1\]"),
    (
        {"begin": [True, False], "inner": [[True, False], [True, True]], "end": [False, True]},
        ConfigError,
        r"forbid every sequence.*reached are tags \[0\], and ends \[1\]",
    ),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG_MASKS)
def test_options_that_cannot_work(options, kind, message):
    with pytest.raises(kind, match=message):
        LinearChainCRF(**{"num_tags": 2, **options})


SCORES, TAGS = torch.zeros(3, 2, 4), torch.zeros(3, 2, dtype=torch.int64)
WRONG = [
    ({"scores": torch.zeros(3, 4)}, r"scores must be \[T, B, K\] with K = 4, .* found \[3, 4\]; time comes first"),
    ({"scores": torch.zeros(3, 2, 5)}, r"scores must be \[T, B, K\] with K = 4"),
    ({"scores": SCORES.long()}, r"floating-point numbers, found torch.int64; pass `scores.float\(\)`"),
    ({"tags": TAGS[:2]}, r"tags must be integers \[T, B\] = \[3, 2\], .* of shape \[2, 2\]"),
    ({"tags": TAGS.float()}, "tags must be integers .* found torch.float32"),
    ({"tags": TAGS.bool()}, "tags must be integers .* found torch.bool"),
    (
        {"tags": TAGS + 4},
        "tags must lie between 0 and K - 1 = 3, found 4 at step 0 of row 0; what fills up shorter rows",
    ),
    ({"tags": TAGS.index_put((torch.tensor(1), torch.tensor(1)), torch.tensor(-1))}, "found -1 at step 1 of row 1"),
    ({"lengths": [4, 0]}, "lengths must lie between 0 and T = 3, found 0 to 4"),
    ({"lengths": [-1, 0]}, "lengths must lie between 0 and T = 3, found -1 to 0"),
    ({"lengths": [1.0, 2.0]}, "lengths must be 2 integers, one per row, found .* torch.float32"),
    ({"lengths": [1, 2, 3]}, r"lengths must be 2 integers, one per row, found shape \[3\]"),
    ({"lengths": torch.tensor(3)}, r"lengths must be 2 integers, one per row, found shape \[\]"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_arguments_that_do_not_fit(arguments, message):
    crf = LinearChainCRF(4)
    with pytest.raises(ShapeError, match=message):
        crf.log_likelihood(**{"scores": SCORES, "tags": TAGS, "lengths": [3, 2], **arguments})
    if "tags" not in arguments:
        for ask in (crf.decode, crf.marginals, crf.n_best, crf.log_partition):
            with pytest.raises(ShapeError, match=message):
                ask(**{"scores": SCORES, "lengths": [3, 2], **arguments})


def test_what_is_allowed_has_the_shape_of_scores():
    crf = LinearChainCRF(4)
    for wrong in (torch.ones(3, 2, 4), torch.ones(2, 4, dtype=torch.bool)):
        with pytest.raises(
            ShapeError, match=r"allowed must be truth values of the shape of scores, \[3, 2, 4\], found"
        ):
            crf.log_partition(SCORES, allowed=wrong)


@pytest.mark.parametrize(("n", "kind"), [(0, ConfigError), (-1, ConfigError), (2.0, TypeError), (True, TypeError)])
def test_a_number_of_sequences(n, kind):
    with pytest.raises(kind, match="n (must be at least 1, got|should be of type int, got)"):
        LinearChainCRF(4).n_best(SCORES, n=n)

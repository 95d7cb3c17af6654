"""Attention and the pointer: judged by numpy, by finite differences, and by what padding may not do."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from gateflow import Recurrent
from gateflow.errors import ConfigError, ShapeError
from gateflow.layers import Attention, PointerGenerator, Transformer
from gateflow.layers.attention import SCORES

T, B, S, Q, M, V = 3, 4, 5, 6, 7, 8
LENGTHS = torch.tensor([5, 2, 0, 3])


def sizes(score):
    return (M, M) if score == "dot" else (Q, M)


def attention_of(score, dtype=torch.float64):
    torch.manual_seed(SCORES.index(score))
    query, memory = sizes(score)
    options = {"hidden_size": 9} if score == "additive" else {}
    return Attention(query, memory, score, dtype=dtype, **options)


def inputs(score, dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    query, memory = sizes(score)
    return (
        torch.randn(T, B, query, generator=generator, dtype=dtype),
        torch.randn(S, B, memory, generator=generator, dtype=dtype),
    )


def by_numpy(attention, query, memory, lengths):
    """Equation by equation, one row, query and step at a time."""
    weights = {name: w.detach().numpy() for name, w in attention.named_parameters()}
    found, looked = np.zeros((T, B, memory.shape[-1])), np.zeros((T, B, S))
    for t, b in np.ndindex(T, B):
        q, steps = query[t, b], [memory[s, b] for s in range(lengths[b])]
        if attention.score == "dot":
            scores = [q @ m for m in steps]
        elif attention.score == "general":
            scores = [q @ (weights["key.weight"] @ m) for m in steps]
        else:
            inner = [weights["query.weight"] @ q + weights["key.weight"] @ m + weights["key.bias"] for m in steps]
            scores = [float(weights["energy.weight"][0] @ np.tanh(a)) for a in inner]
        powers = np.exp(scores)
        for s, power in enumerate(powers):
            looked[t, b, s] = power / powers.sum()
            found[t, b] += looked[t, b, s] * steps[s]
    return found, looked


@pytest.mark.parametrize("score", SCORES)
def test_it_finds_what_a_transcription_finds(score):
    attention, (query, memory) = attention_of(score), inputs(score)
    found, weights = attention(query, memory, LENGTHS)
    wanted = by_numpy(attention, query.numpy(), memory.numpy(), LENGTHS.tolist())
    np.testing.assert_allclose(found.detach().numpy(), wanted[0], atol=1e-12)
    np.testing.assert_allclose(weights.detach().numpy(), wanted[1], atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_its_gradients_are_those_of_finite_differences(score):
    attention, (query, memory) = attention_of(score), inputs(score)
    names, values = zip(*attention.named_parameters(), strict=True) if list(attention.parameters()) else ((), ())

    def run(query, memory, *weights):
        return torch.func.functional_call(attention, dict(zip(names, weights, strict=True)), (query, memory, LENGTHS))

    given = [tensor.detach().clone().requires_grad_() for tensor in (query, memory, *values)]
    assert gradcheck(run, given)


@pytest.mark.parametrize("score", SCORES)
def test_padding_is_never_seen_be_it_nan(score):
    attention, (query, memory) = attention_of(score), inputs(score)
    beyond = torch.arange(S)[:, None] >= LENGTHS
    spoiled = memory.masked_fill(beyond[..., None], torch.nan).requires_grad_()
    found, weights = attention(query, spoiled, LENGTHS)
    wanted, _ = attention(query, memory, LENGTHS)
    assert torch.equal(found, wanted)
    assert not weights.transpose(0, 1)[beyond.T[:, None].expand(B, T, S)].any()
    found.sum().backward()
    assert spoiled.grad.isfinite().all()
    assert not spoiled.grad[beyond].any()


@pytest.mark.parametrize("score", SCORES)
def test_a_row_is_the_same_in_any_batch(score):
    attention, (query, memory) = attention_of(score), inputs(score)
    whole, _ = attention(query, memory, LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone, _ = attention(query[:, b : b + 1], memory[: max(1, length), b : b + 1], length[None])
        torch.testing.assert_close(alone, whole[:, b : b + 1], atol=1e-12, rtol=0)
    rows = torch.tensor([3, 1, 1])
    ready = attention.attended(memory, LENGTHS).select(rows)
    torch.testing.assert_close(attention.find(query[:, rows], ready)[0], whole[:, rows], atol=1e-12, rtol=0)


def pointer_by_numpy(pointer, scores, weights, source, features, extra):
    gate, bias = pointer.gate.weight.detach().numpy()[0], pointer.gate.bias.item()
    found = np.zeros((T, B, V + extra))
    for t, b in np.ndindex(T, B):
        g = 1 / (1 + np.exp(-(gate @ features[t, b] + bias)))
        powers = np.exp(scores[t, b] - scores[t, b].max())
        found[t, b, :V] = g * powers / powers.sum()
        for s in range(S):
            found[t, b, source[s, b]] += (1 - g) * weights[t, b, s]
    return found


def pointer_inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(T, B, V, generator=generator, dtype=dtype) * 3
    weights = torch.randn(T, B, S, generator=generator, dtype=dtype).softmax(-1)
    features = torch.randn(T, B, Q, generator=generator, dtype=dtype)
    # Known ones, twice the same, and two beyond the vocabulary.
    source = torch.randint(0, V + 2, (S, B), generator=generator)
    source[:2, 0], source[0, 1] = 4, V + 1
    return scores, weights, source, features


def test_the_pointer_gives_what_a_transcription_gives():
    torch.manual_seed(0)
    pointer, (scores, weights, source, features) = PointerGenerator(Q, dtype=torch.float64), pointer_inputs()
    found = pointer(scores, weights, source, features, extra=2).exp().detach().numpy()
    wanted = pointer_by_numpy(pointer, *(x.numpy() for x in (scores, weights, source, features)), 2)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-12)


def test_the_gradients_of_the_pointer_are_those_of_finite_differences():
    pointer, (scores, weights, source, features) = PointerGenerator(Q, dtype=torch.float64), pointer_inputs()
    # Of what can occur: a number that no source token has, beyond the vocabulary, has the logarithm of nothing.
    occurs = torch.zeros(B, V + 2, dtype=torch.bool).scatter_(1, source.T, True)
    occurs[:, :V] = True

    def run(scores, weights, features):
        return pointer(scores, weights, source, features, extra=2)[occurs.expand(T, -1, -1)]

    assert gradcheck(run, [x.clone().requires_grad_() for x in (scores, weights, features)])


def test_a_token_that_cannot_be_gives_no_nan():
    """Attention that is certain has weights of 0, and a token that is nowhere has no probability at all."""
    pointer, (scores, _, source, features) = PointerGenerator(Q, dtype=torch.float64), pointer_inputs()
    weights = torch.zeros(T, B, S, dtype=torch.float64)
    weights[..., 0] = 1
    weights.requires_grad_()
    pointer(scores, weights, source, features, extra=3).sum().backward()
    assert weights.grad.isfinite().all()
    assert pointer.gate.weight.grad.isfinite().all()


def test_a_row_has_no_words_of_other_rows():
    """What another row alone may copy has no probability at all; so the pointer says the same in any batch."""
    pointer, (scores, weights, source, features) = PointerGenerator(Q, dtype=torch.float64), pointer_inputs()
    found = pointer(scores, weights, source, features, extra=2)
    for b in range(B):
        alone = pointer(scores[:, [b]], weights[:, [b]], source[:, [b]], features[:, [b]], extra=2)
        torch.testing.assert_close(alone, found[:, [b]], atol=1e-12, rtol=0)
        theirs = [number for number in (V, V + 1) if not (source[:, b] == number).any()]
        assert (found[:, b, theirs] == -torch.inf).all()
    assert found[..., V:].isinf().any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="score must be one of dot, general, additive; found 'cosine'"):
        Attention(Q, M, "cosine")
    with pytest.raises(ConfigError, match='queries have 6, the memory 7; choose score="general"'):
        Attention(Q, M, "dot")
    with pytest.raises(ConfigError, match='hidden_size belongs to score="additive"'):
        Attention(Q, M, hidden_size=3)
    attention, (query, memory) = attention_of("general"), inputs("general")
    with pytest.raises(ShapeError, match=r"memory must be \[S, B, M\] with M = 7"):
        attention(query, memory[..., :3])
    with pytest.raises(ShapeError, match=r"query must be \[T, 4, 6\]"):
        attention(query[:, :2], memory)
    for sizes_, options in (((0, M), {}), ((Q, -1), {}), ((Q, M, "additive"), {"hidden_size": 0})):
        with pytest.raises(ConfigError, match="must be at least 1"):
            Attention(*sizes_, **options)
    with pytest.raises(ConfigError, match="feature_size must be at least 1, found 0"):
        PointerGenerator(0)
    scores, weights, source, features = pointer_inputs()
    with pytest.raises(ShapeError, match=r"source must be \[S, B\] = \[5, 4\]"):
        PointerGenerator(Q, dtype=torch.float64)(scores, weights, source.T, features)


LAYERS = {
    "Attention": lambda lengths: Attention(M, M)(torch.ones(T, B, M), torch.ones(S, B, M), lengths)[0],
    "Transformer": lambda lengths: Transformer(M, 8, heads=2)(torch.ones(S, B, M), lengths=lengths)[0],
    "Recurrent": lambda lengths: Recurrent("gru", M, 3)(torch.ones(S, B, M), lengths=lengths)[0],
}
NO_LENGTHS = [[1, 2, 3], [1, 2, 3, -1], [1, 2, 3, S + 1], [1.0, 2.0, 3.0, 4.0], [True] * B, [[1, 2, 3, 4]]]


@pytest.mark.parametrize("layer", LAYERS)
def test_lengths_are_asked_for_alike(layer):
    for lengths in NO_LENGTHS:
        for given in (lengths, torch.tensor(lengths)):
            with pytest.raises(ShapeError, match="lengths must"):
                LAYERS[layer](given)
    for lengths in ([S] * B, LENGTHS.tolist()):
        found = []
        for given in (lengths, torch.tensor(lengths), torch.tensor(lengths, dtype=torch.int32)):
            torch.manual_seed(1)
            found.append(LAYERS[layer](given))
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(("number", "extra"), [(-1, 0), (4, 0), (6, 2), (-100, 2)])
def test_numbers_that_no_token_has_are_refused(number, extra):
    pointer, source = PointerGenerator(2), torch.tensor([[0], [number]])
    weights, scores = torch.full((1, 1, 2), 0.5), torch.zeros(1, 1, 4)
    with pytest.raises(ShapeError, match=f"numbers from 0 to V . extra - 1 = {3 + extra}, found {number}"):
        pointer(scores, weights, source, torch.zeros(1, 1, 2), extra=extra)

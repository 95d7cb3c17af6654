"""Agreement: the measure of reach against one autograd call a sentence, and the loss against a loop."""

from random import Random

import pytest
import torch
from torch.nn import functional as F

from gateflow.data.agreement import draw, split, vocabulary
from gateflow.remedies import init
from gateflow.tasks.agreement.model import (
    AgreementModel,
    accuracy,
    agrees,
    batches,
    bucket,
    encode,
    loss,
    reach,
    verb_gradient_ratio,
)


@pytest.fixture
def sentences():
    return [draw(Random(i), distance) for i, distance in enumerate((1, 4, 9, 17))]


def model_of(cell):
    return AgreementModel(cell, embedding_size=5, hidden_size=7).double()


def lstm_step(model, x, h, c):
    w = model.layer
    i, f, g, o = (x @ w.weight_ih_l0.T + w.bias_ih_l0 + h @ w.weight_hh_l0.T + w.bias_hh_l0).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def test_reach_of_an_lstm_is_that_of_its_full_state(sentences):
    """Run the equations to the subject, cut there, and ask autograd for the rest of the way: h and c, both."""
    model = model_of("lstm")
    init.chrono(model, max_lag=30)
    found = verb_gradient_ratio(model, encode(sentences))
    for sentence, ratio in zip(sentences, found, strict=True):
        batch = encode([sentence])
        x = model.embedding(batch.tokens[:, 0])
        h = c = torch.zeros(7, dtype=torch.float64)
        for k in range(sentence.verb):
            h, c = lstm_step(model, x[k], h, c)
            if k == sentence.subject:
                h, c = cut_h, cut_c = h.detach().requires_grad_(), c.detach().requires_grad_()
        last = h if h.requires_grad and h.is_leaf else h.detach().requires_grad_()
        nats = F.cross_entropy(model.scores(h)[None], batch.right)
        at_subject = torch.autograd.grad(nats, [cut_h, cut_c], materialize_grads=True)
        at_verb = torch.autograd.grad(F.cross_entropy(model.scores(last)[None], batch.right), [last])
        assert ratio.item() == pytest.approx((torch.cat(at_subject).norm() / at_verb[0].norm()).item(), rel=1e-9)


@pytest.mark.parametrize("cell", ["elman", "simplified_gru"])
@pytest.mark.filterwarnings("ignore::gateflow.errors.ReferencePathWarning")
def test_reach_does_not_depend_on_the_batch(cell, sentences):
    model = model_of(cell)
    together = verb_gradient_ratio(model, encode(sentences))
    alone = torch.cat([verb_gradient_ratio(model, encode([s])) for s in sentences])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=0)
    assert together[0] == 1, "the next word is read from the subject's own state"


def test_reach_is_a_geometric_mean_by_group_and_leaves_the_model_alone(sentences):
    model = AgreementModel("gru", hidden_size=7)
    by_bucket = reach(model, sentences, lambda s: int(s.distance > 5))
    ratios = verb_gradient_ratio(model.double(), encode(sentences))
    assert by_bucket[1] == pytest.approx((ratios[2] * ratios[3]).sqrt().item(), rel=1e-5)
    assert all(p.grad is None for p in model.parameters())


def test_loss_is_the_verb_and_a_share_of_all_words(sentences):
    model, batch = model_of("lstm"), encode(sentences)
    nats, verbs = [], []
    for s in sentences:
        one = encode([s])
        logs = model.scores(model(one.tokens))[:, 0].log_softmax(-1)
        nats += [-logs[k, one.tokens[k + 1, 0]] for k in range(len(s.tokens) - 1)]
        verbs.append(-logs[s.verb - 1, vocabulary().index(s.right_verb)])
    expected = torch.stack(verbs).mean() + 0.3 * torch.stack(nats).mean()
    torch.testing.assert_close(loss(model, batch, word_share=0.3), expected)


def test_agrees_reads_only_the_words_before_the_verb(sentences):
    model = model_of("lstm")
    for sentence, hit in zip(sentences, agrees(model, encode(sentences)), strict=True):
        one = encode([sentence])
        scores = model.scores(model(one.tokens[: sentence.verb])[-1])[0]
        assert bool(scores[one.right] > scores[one.wrong]) == bool(hit)


def test_accuracy_counts(sentences):
    model = model_of("lstm")
    shares = accuracy(model, sentences, bucket)
    assert list(shares) == [0, 1, 2]
    assert shares[0] == agrees(model, encode(sentences[:2])).double().mean()


def test_batches_hold_every_sentence_once_in_an_order_of_the_seed():
    sentences, _ = split(100, 0, seed=0)
    found = [
        tuple(b.tokens[: b.length[j], j].tolist()) for b in batches(sentences, 16, seed=1) for j in range(len(b.verb))
    ]
    number = {word: i for i, word in enumerate(vocabulary())}
    assert sorted(found) == sorted(tuple(number[w] for w in s.tokens) for s in sentences)
    again, other = ([b.tokens.shape for b in batches(sentences, 16, seed=seed)] for seed in (1, 2))
    assert [b.tokens.shape for b in batches(sentences, 16, seed=1)] == again != other

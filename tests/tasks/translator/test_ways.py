"""The two ways to the source sum to the gradient, and each is what is left when the other is held fast."""

import pytest
import torch
from tests.tasks.translator.conftest import TOKENS, train
from tests.tasks.translator.pairs import pairs, write

from gateflow.data.parallel import ParallelText
from gateflow.layers.attention import Attention
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.diagnosis import diagnose_run
from gateflow.tasks.translator.encoding import EncodedPairs
from gateflow.tasks.translator.loading import load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.ways import source_gradients, ways

NETWORKS = {
    "both directions": {"num_layers": 2},
    "one direction, additive": {"bidirectional": False, "attention": "additive", "cell": "gru"},
    "input feeding": {"input_feeding": True},
    "a pointer": {"copy": True, "attention": "dot"},
    "no attention": {"attention": "none"},
    "a Transformer": {"model": "transformer", "heads": 2, "num_layers": 2, "copy": True},
}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ways")
    config = TranslatorConfig.build({"data": {"train": write(folder / "train.tsv", pairs(60))}, "tokens": TOKENS})
    return load_vocabularies(set_up(folder / "run", config))


def prepared(vocabularies, name):
    torch.manual_seed(3)
    sizes = {"hidden_size": 8, "embedding_size": 5, "tied": name != "a pointer"}
    model = TranslatorModel(vocabularies.read, len(vocabularies.target), **sizes, **NETWORKS[name]).double().eval()
    found = [ParallelText(source, (target,)) for source, target in (("abcde", "A B"), ("ea", "TS A D H"), ("ㅎx", "B"))]
    return model, EncodedPairs(vocabularies, found, copying=model.pointer is not None).batch([0, 1, 2])


def by_autograd(model, batch, t, monkeypatch, held=""):
    """`∂E_t/∂v` of the whole model, one way of which may be held fast by detaching it."""
    vectors = model.source_vectors(batch.source).detach().requires_grad_()
    encoded = model.encoder(vectors, batch.source_lengths)
    with monkeypatch.context() as patch:
        if held == "attention":
            plain = Attention.attended
            patch.setattr(Attention, "attended", lambda self, memory, lengths: plain(self, memory.detach(), lengths))
        if held == "recurrence":
            final = tuple(tuple(part.detach() for part in parts) for parts in encoded.final)
            encoded = type(encoded)(encoded.memory, encoded.lengths, final)
        found = model.decode(batch.inputs, model.decoder.start(encoded), batch.target_lengths)
    logs = model.log_probabilities(found, batch.copies, batch.extra)[t]
    there = batch.labels[t] != -100
    loss = -logs[there].gather(-1, batch.labels[t][there][:, None]).sum()
    (gradient,) = torch.autograd.grad(loss, vectors, allow_unused=True)
    return torch.zeros_like(vectors) if gradient is None else gradient


@pytest.mark.parametrize("name", NETWORKS)
def test_the_two_parts_sum_to_the_whole_and_are_what_is_left_without_the_other(name, vocabularies, monkeypatch):
    model, batch = prepared(vocabularies, name)
    targets = range(len(batch.labels))
    for t, found in zip(targets, source_gradients(model, batch, targets), strict=True):
        whole = by_autograd(model, batch, t, monkeypatch)
        torch.testing.assert_close(found.source, whole, rtol=0, atol=1e-10)
        if model.is_recurrent:
            by_recurrence = by_autograd(model, batch, t, monkeypatch, "attention")
            torch.testing.assert_close(found.recurrence, by_recurrence, rtol=0, atol=1e-10)
            by_attention = by_autograd(model, batch, t, monkeypatch, "recurrence")
            torch.testing.assert_close(found.attention, by_attention, rtol=0, atol=1e-10)
        assert bool(found.attention.any()) == model.decoder.attends
        assert bool(found.recurrence.any()) == model.is_recurrent


def test_figures_by_lag_are_those_of_all_pairs(vocabularies, monkeypatch):
    model, batch = prepared(vocabularies, "both directions")
    norms, shares = ways(model, batch).by_way
    sums = {}
    for t, found in enumerate(source_gradients(model, batch, range(len(batch.labels)))):
        for b in range(3):
            for s in range(int(batch.source_lengths[b]) if batch.labels[t, b] != -100 else 0):
                lag = int(batch.source_lengths[b]) - s + t
                whole, part = found.source[s, b], found.attention[s, b]
                each = torch.stack([whole.norm(), found.target[t, b].norm(), part @ whole, whole @ whole])
                sums[lag] = sums.get(lag, 0) + each
    for lag, (whole, own, along, square) in sums.items():
        assert float(norms.lines["both"][lag]) == pytest.approx(float(whole / own), rel=1e-9)
        assert float(shares.lines["by attention"][lag]) == pytest.approx(float(along / square), rel=1e-9)
    assert set(range(len(shares.lines["by attention"]))) - set(sums) == {0, 1} - set(sums) | {
        lag for lag, x in enumerate(shares.lines["by attention"].tolist()) if x != x
    }
    both = shares.lines["by attention"] + shares.lines["by the recurrence"]
    assert torch.allclose(both[~both.isnan()], torch.ones(1, dtype=torch.float64), atol=1e-12)


def test_reach_to_the_inputs_counts_over_the_end_of_each_source(vocabularies):
    model, batch = prepared(vocabularies, "a Transformer")
    found = ways(model, batch)
    assert found.by_way == ()
    sources = len(batch.source)
    for k, gradients in enumerate(source_gradients(model, batch, found.inputs.targets)):
        for b, length in enumerate(batch.source_lengths.tolist()):
            if found.inputs.at[k, b] >= 0:
                norms = found.inputs.norms[k, :, b]
                assert torch.allclose(norms[sources - length : sources], gradients.source[:length, b].norm(dim=-1))
                assert norms[: sources - length].isnan().all()
                assert norms[sources + found.inputs.targets[k] + 1 :].isnan().all()


def test_a_report_has_both_ways(trained, files, tmp_path):
    report = diagnose_run(trained)
    inputs, norms, shares = report.by_lag
    assert list(norms.lines) == ["both", "by attention", "by the recurrence"]
    page = report.save(tmp_path / "page.html").read_text(encoding="utf-8")
    for found in (inputs, norms, shares):
        assert found.title in page
        assert found.title in str(report)
        assert found.title in {each["title"] for each in report.to_dict()["by_lag"]}
    of_transformer = train(tmp_path / "run", {"train": files[0]}, {"model": "transformer"}, {"epochs": 1})
    other = diagnose_run(of_transformer, needed_lag=4)
    assert [finding.name for finding in other.findings] == ["no-recurrence"]
    assert [found.title for found in other.by_lag] == [inputs.title]
    assert "A Transformer has no recurrence to look at" in other.save(tmp_path / "other.html").read_text("utf-8")

"""A translator learns what is asked of it: attention, a pointer, features, input feeding, one vocabulary or two."""

import json

import pytest
import torch
from tests.tasks.translator.conftest import train
from tests.tasks.translator.pairs import inflected, pairs, write
from tests.training.test_loop import metrics

from gateflow.tasks.translator.data import own_pairs
from gateflow.tasks.translator.evaluation import evaluate
from gateflow.tasks.translator.loading import load_model, load_vocabularies, most_tokens
from gateflow.tasks.translator.search import Search


def exact(run, pairs=None):
    vocabularies = load_vocabularies(run)
    found = evaluate(
        load_model(run, vocabularies), vocabularies, pairs or own_pairs(run, "valid"), Search(most_tokens(run))
    )
    return found.measures.figures()["exact_match"]


def test_it_learns_and_says_so(trained):
    best = [record for record in metrics(trained) if record["kind"] == "valid"][-1]
    assert {"loss", "error_rate", "exact_match", "accuracy"} <= best.keys()
    assert exact(trained) > 0.9
    assert exact(trained) == pytest.approx(
        max(r["exact_match"] for r in metrics(trained) if r["kind"] == "valid"), abs=0.05
    )


OPTIONS = {
    "dot": {"attention": "dot"},
    "additive": {"attention": "additive", "cell": "gru", "decoder_cell": "lstm", "tied": False},
    "no attention": {"attention": "none", "hidden_size": 48},
    "input feeding": {"input_feeding": True, "cell": "gru"},
    "two layers": {"layers": 2, "skip": "residual", "bidirectional": False},
    "a pointer": {"pointer": True},
    "a Transformer": {"model": "transformer", "heads": 2},
    "a Transformer with a pointer": {"model": "transformer", "heads": 2, "layers": 2, "pointer": True, "tied": False},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_other_networks_learn_too(name, files, tmp_path):
    run = train(tmp_path / "run", {"train": files[0], "valid": files[1]}, OPTIONS[name], {"epochs": 8})
    first, *_, last = [record["loss"] for record in metrics(run) if record["kind"] == "valid"]
    # How soon is another question: without attention all has to go through one state.
    assert last < 0.85 * first


def test_features_say_what_is_asked_for(tmp_path):
    rows = inflected()
    file, other = write(tmp_path / "train.tsv", rows[:90]), write(tmp_path / "valid.tsv", rows[90:])
    data = {"train": file, "valid": other, "features": "3"}
    tokens = {"target_tokenizer": "char", "joint": True}
    run = train(tmp_path / "run", data, {"pointer": True}, {"epochs": 20}, tokens)
    assert not run.tokens_file("target").exists()
    vocabularies = load_vocabularies(run)
    assert vocabularies.features.tokens("V PST") == ["V", "PST"]
    assert exact(run) > 0.5


def test_a_word_in_no_vocabulary_is_copied(tmp_path):
    """Names that occur once: with --min-count 2 they are unknown, and a pointer copies them all the same."""
    names = [word for word, _ in pairs(120, seed=5)]
    rows = [(f"hello {name} !", f"goodbye {name} .") for name in names]
    file = write(tmp_path / "train.tsv", rows)
    tokens = {"tokenizer": "word", "min_count": 2}
    run = train(tmp_path / "run", {"train": file}, {"pointer": True, "hidden_size": 16}, {"epochs": 12}, tokens)
    vocabularies = load_vocabularies(run)
    assert len(vocabularies.target) == 4
    assert exact(run) > 0.9


def test_a_state_begins_with_the_source_alone(trained):
    """What lies beyond a source, or beside it, changes nothing of its losses."""
    vocabularies, generator = load_vocabularies(trained), torch.Generator().manual_seed(0)
    model = load_model(trained, vocabularies)
    source = torch.randint(2, len(vocabularies.source), (6, 3), generator=generator)
    lengths, tokens = torch.tensor([6, 2, 4]), torch.randint(2, len(vocabularies.target), (4, 3), generator=generator)
    with torch.no_grad():
        whole = model.log_probabilities(model.decode(tokens, model.start(source, lengths)))
        for b, length in enumerate(lengths):
            alone = model.start(source[:length, b : b + 1], lengths[b : b + 1])
            found = model.log_probabilities(model.decode(tokens[:, b : b + 1], alone))
            torch.testing.assert_close(found, whole[:, b : b + 1], atol=1e-5, rtol=0)


STEPS = {"one call": {}, "input feeding": {"input_feeding": True}, "Transformer": {"model": "transformer", "heads": 1}}


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_a_call_over_a_target_is_its_steps(options):
    """What training runs over a whole target is what a search asks step by step."""
    from gateflow.tasks.translator.model import TranslatorModel

    torch.manual_seed(0)
    model = TranslatorModel(9, 8, hidden_size=6, embedding_size=4, num_layers=2, **options).double().eval()
    source, lengths, tokens = torch.randint(9, (5, 3)), torch.tensor([5, 2, 4]), torch.randint(8, (4, 3))
    state = model.start(source, lengths)
    whole = model.log_probabilities(model.decode(tokens, state))
    for t, row in enumerate(tokens):
        found = model.decode(row[None], state)
        torch.testing.assert_close(model.log_probabilities(found)[0], whole[t], atol=1e-10, rtol=0)
        state = found.state


def test_what_is_kept_is_what_was_read(trained, files):
    kept = [json.loads(line) for line in trained.pairs_file("train").read_text(encoding="utf-8").splitlines()]
    assert [(row["source"], row["target"][0]) for row in kept] == [
        tuple(line.split("\t")) for line in files[0].read_text(encoding="utf-8").splitlines()
    ]

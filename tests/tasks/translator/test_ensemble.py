"""Several translators as one: the mean of their probabilities, the tokens that all have, and what does not fit."""

import json

import pytest
import torch
from tests.tasks.translator.conftest import TOKENS, train
from tests.tasks.translator.pairs import pairs, write

from gateflow import Translator
from gateflow.data.parallel import ParallelText
from gateflow.decoding.beam import beam_search
from gateflow.errors import ConfigError, RunError
from gateflow.tasks.description import Given
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.encoding import EncodedPairs
from gateflow.tasks.translator.ensemble import Ensemble, ensemble_of, runs_beside
from gateflow.tasks.translator.evaluation import evaluate_run
from gateflow.tasks.translator.loading import load_model, load_vocabularies
from gateflow.tasks.translator.model import TranslatorModel
from gateflow.tasks.translator.prediction import predict
from gateflow.tasks.translator.search import Search
from gateflow.tasks.translator.translating import translate_text

SOURCES = [ParallelText(word, ()) for word, _ in pairs(20, seed=9)]
KINDS = {
    "attention": ({}, {"num_layers": 2, "cell": "gru"}),
    "a Transformer beside": ({}, {"model": "transformer", "heads": 2}),
    "pointers": ({"copy": True}, {"copy": True, "attention": "additive"}),
    "one without attention": ({}, {"attention": "none"}),
}
SEARCHING = {"beam": 3, "length_penalty": 1.0, "coverage_penalty": 0.0, "min_length": 0, "max_length": None}
SEARCHING |= {"replace_unknown": False, "batch_size": 8}


def random_models(vocabularies, kind):
    torch.manual_seed(4)
    sizes = vocabularies.read, len(vocabularies.target)
    models = [TranslatorModel(*sizes, hidden_size=12, embedding_size=8, **options).eval() for options in KINDS[kind]]
    with torch.no_grad():
        for model in models:
            for weight in model.parameters():
                weight.mul_(2)
    return models


@pytest.fixture(scope="module")
def vocabularies(trained):
    return load_vocabularies(trained)


class ByHand:
    """The mean of probabilities, from whole prefixes each time."""

    def __init__(self, models, batch):
        self.models, self.batch = models, batch

    def step(self, state, tokens):
        prefixes = Prefixes(torch.cat([state.tokens, tokens[:, None]], 1))
        count, mean = len(tokens), 0.0
        for model in self.models:
            lengths = self.batch.source_lengths.expand(count)
            state = model.start(self.batch.source.expand(-1, count), lengths)
            found = model.decode(prefixes.tokens.T, state)
            copies = self.batch.copies.expand(-1, count) if model.copies else None
            mean = mean + model.log_probabilities(found, copies, self.batch.extra)[-1].exp() / len(self.models)
        return mean.log(), prefixes


class Prefixes:
    def __init__(self, tokens):
        self.tokens = tokens

    def select(self, rows):
        return Prefixes(self.tokens[rows])


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beam", [1, 3])
def test_the_mean_of_probabilities_at_each_step(vocabularies, kind, beam):
    models = random_models(vocabularies, kind)
    both, end = Ensemble(models), vocabularies.target.end
    search = Search(8, beam=beam, length_penalty=0.5)
    together = list(predict(both, vocabularies, SOURCES, search))
    for source, answer in zip(SOURCES, together, strict=True):
        batch = EncodedPairs(vocabularies, [source], copying=both.copies).batch([0])
        begun = Prefixes(torch.zeros(1, 0, dtype=torch.long))
        ((wanted, *_),) = beam_search(
            ByHand(models, batch), begun, rows=1, start=end, end=end, beam=beam, length_penalty=0.5, max_length=8
        )
        assert answer.best.log_probability == pytest.approx(wanted.log_probability, abs=1e-4)
    assert (together[0].best.weights is not None) == both.attends == (kind != "one without attention")
    # In any batch the same.
    for source, answer in zip(SOURCES, together, strict=True):
        (alone,) = predict(both, vocabularies, [source], search)
        assert alone.best.tokens == answer.best.tokens
        if answer.best.weights is not None:
            assert torch.allclose(answer.best.weights.sum(-1), torch.ones(len(answer.best.tokens) + 1), atol=1e-5)


def test_of_one_twice_it_is_the_one(vocabularies, trained):
    model = load_model(trained, vocabularies)
    search = Search(20, beam=3, nbest=2)
    alone = list(predict(model, vocabularies, SOURCES, search))
    twice = list(predict(Ensemble([model, model]), vocabularies, SOURCES, search))
    assert [[t.text for t in answer.translations] for answer in twice] == [
        [t.text for t in answer.translations] for answer in alone
    ]


@pytest.fixture(scope="module")
def second(tmp_path_factory, files):
    return train(
        tmp_path_factory.mktemp("runs") / "second", {"train": files[0], "valid": files[1]}, training={"seed": 1}
    )


def test_the_verbs(trained, second, tmp_path, vocabularies):
    file = tmp_path / "words"
    file.write_text("".join(f"{source.source}\n" for source in SOURCES), encoding="utf-8")
    attention = tmp_path / "a.html"
    options = {"attention": attention, "nbest": 1, "ensemble": str(second.path), **SEARCHING}
    lines = [data["translation"] for _, data in translate_text(Given(trained), data=file, **options).items]
    models = [load_model(run, load_vocabularies(run)) for run in (trained, second)]
    search = Search(100, beam=3, length_penalty=1.0)
    assert lines == [answer.best.text for answer in predict(Ensemble(models), vocabularies, SOURCES, search)]
    assert "<td" in attention.read_text()
    asked = {"target_data": None, "predictions": tmp_path / "p", "bleu_tokenize": "none", **SEARCHING}
    found = evaluate_run(Given(trained), data=None, ensemble=str(second.path), **asked).json
    assert found["exact_match"] > 0.9
    assert len([json.loads(line) for line in (tmp_path / "p").read_text().splitlines()]) == found["pairs"]


@pytest.mark.filterwarnings("ignore:.*in the training part too")
def test_from_python(trained, second, vocabularies):
    one, other = Translator.load(trained.path), Translator.load(second.path)
    models = [load_model(run, vocabularies) for run in (trained, second)]
    wanted = predict(Ensemble(models), vocabularies, SOURCES, Search(100, beam=2, length_penalty=1.0))
    texts = [source.source for source in SOURCES]
    assert one.predict(texts, ensemble=[other], beam=2) == [answer.best.text for answer in wanted]
    for twice in ([one], [Translator.load(trained.path)], [other, Translator.load(second.path)]):
        with pytest.raises(ConfigError, match="is there already, and counts once"):
            one.predict(texts, ensemble=twice)
    X, y = ["xy", "yx", "xx"], ["X Y", "Y X", "X X"]
    stranger = Translator(epochs=1, hidden_size=4, embedding_size=4, **TOKENS).fit(X, y, valid=(X, y))
    with pytest.raises(ConfigError, match="^ensemble .* has other tokens"):
        one.predict(texts, ensemble=[stranger])
    # An iterator can be read once; with it, too, the answers are not those of one alone.
    (twice,) = one.answers(texts[:1], ensemble=iter([other]), beam=2)
    (alone,) = one.answers(texts[:1], beam=2)
    assert twice.best.score == next(one.answers(texts[:1], ensemble=[other], beam=2)).best.score != alone.best.score
    for wrong in ("runs/b", [second.path], other, None):
        with pytest.raises(ConfigError, match="give translators in a list"):
            one.predict(texts, ensemble=wrong)
    with pytest.raises(ConfigError, match="has learnt nothing yet"):
        one.predict(texts, ensemble=[Translator()])


def test_what_does_not_fit_is_refused(trained, second, tmp_path, vocabularies):
    other = write(tmp_path / "other.tsv", [("xy", "X Y"), ("yx", "Y X"), ("xx", "X X")])
    config = TranslatorConfig.build({"data": {"train": other}, "tokens": TOKENS})
    stranger = set_up(tmp_path / "stranger", config)
    model = load_model(trained, vocabularies)
    with pytest.raises(ConfigError, match=r"stranger has other tokens \(source\)"):
        ensemble_of(model, vocabularies, runs_beside(trained, str(stranger.path)))
    for names in (str(trained.path), f"{second.path},{second.path}"):
        with pytest.raises(ConfigError, match="is there already"):
            runs_beside(trained, names)
    with pytest.raises(RunError):
        runs_beside(trained, f"{second.path},{tmp_path / 'none'}")
    assert runs_beside(trained, None) == []
    assert [run.path for run in runs_beside(trained, f" {second.path} ,")] == [second.path]
    with pytest.raises(ConfigError, match="names no run"):
        runs_beside(trained, " , ")
    sizes = vocabularies.read, len(vocabularies.target)
    with pytest.raises(ConfigError, match="--pointer"):
        Ensemble(TranslatorModel(*sizes, hidden_size=4, embedding_size=4, copy=copy) for copy in (True, False))
    with pytest.raises(ConfigError, match="none was given"):
        Ensemble([])
    # Nor is a file of the other run written over.
    asked = {"target_data": None, "bleu_tokenize": "none", "ensemble": str(second.path), **SEARCHING}
    with pytest.raises(ConfigError):
        evaluate_run(Given(trained), data=None, predictions=second.path / "config.toml", **asked)

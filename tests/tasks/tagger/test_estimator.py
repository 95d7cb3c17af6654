"""`gateflow.Tagger`: parameters as scikit-learn wants them, learning from lists and files, runs kept and read."""

import pytest
from sklearn.base import clone
from tests.tasks.tagger.conftest import MODEL, TRAINING
from tests.tasks.tagger.sentences import sentences

import gateflow
from gateflow import Tagger
from gateflow.errors import ConfigError, DataError, RunError

OPTIONS = {**MODEL, **TRAINING, "epochs": 15}


@pytest.fixture(scope="module")
def fitted():
    words, tags = zip(*sentences(160), strict=True)
    return Tagger(**OPTIONS).fit(words[:120], tags[:120], valid=(words[120:], tags[120:])), words[120:], tags[120:]


def test_it_learns_from_lists_and_answers_in_their_scheme(fitted):
    tagger, words, tags = fitted
    assert tagger.score(words, tags) > 0.9
    assert tagger.predict([["Teddy", "Roosevelt", "came"], []])[1] == []
    ((span, *_),) = tagger.predict_spans([["Teddy", "Roosevelt", "was", "a", "great", "President"]])
    assert span[:3] == ("PER", 0, 2)
    assert 0.3 < span[3] <= 1


def test_parameters_are_those_of_scikit_learn():
    tagger = Tagger(hidden_size=32, crf=True, cell="gru")
    params = tagger.get_params()
    assert params["hidden_size"], params["crf"] == (32, True)
    assert clone(tagger).get_params() == params
    assert tagger.set_params(epochs=3).get_params()["epochs"] == 3
    assert tagger.get_params()["hidden_size"] == 32
    with pytest.raises(ConfigError, match="Tagger has no option hiden_size"):
        Tagger(hiden_size=3)


def test_a_run_is_kept_and_read_again(fitted, tmp_path):
    tagger, words, _ = fitted
    tagger.save(tmp_path / "kept")
    again = Tagger.load(tmp_path / "kept")
    assert again.predict(words) == tagger.predict(words)
    assert again.get_params()["hidden_size"] == OPTIONS["hidden_size"]
    with pytest.raises(RunError, match="exists"):
        tagger.save(tmp_path / "kept")


def test_the_package_has_it():
    assert gateflow.Tagger is Tagger


BAD = [
    ([["a", "b"]], [["X"]], "sentence 0 has 2 words and 1 of tag"),
    ([["a"], ["b"]], [["X"]], "2 sentences were given and 1 rows of tag"),
    ([["a\tb"]], [["X"]], "sentence 0 holds 'a\\\\tb'"),
    ([["a", ""]], [["X", "Y"]], "sentence 0 holds ''"),
    ([["-DOCSTART-", "b"]], [["X", "Y"]], "sentence 0 holds '-DOCSTART-', which marks a document"),
    ([["a"]], None, "sentences were given without tags"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD)
def test_lists_that_do_not_fit(X, y, message):
    with pytest.raises(DataError, match=message):
        Tagger(**OPTIONS).fit(X, y)


def test_what_has_learnt_nothing_says_so():
    with pytest.raises(ConfigError, match="has learnt nothing yet"):
        Tagger().predict([["a"]])

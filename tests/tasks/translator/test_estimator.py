"""`gateflow.Translator`: parameters as scikit-learn wants them, learning from lists and files, runs kept and read."""

import pytest
from sklearn.base import clone
from tests.tasks.translator.conftest import MODEL, TOKENS, TRAINING
from tests.tasks.translator.pairs import inflected, pairs

import gateflow
from gateflow import Translator
from gateflow.errors import ConfigError, DataError, RunError

OPTIONS = {**MODEL, **TOKENS, **TRAINING, "epochs": 15}


@pytest.fixture(scope="module")
def fitted():
    X, y = zip(*pairs(140), strict=True)
    return Translator(**OPTIONS).fit(X[:100], y[:100], valid=(X[100:], y[100:])), X[100:], y[100:]


def test_it_learns_from_lists_and_keeps_what_it_has_learnt(fitted, tmp_path):
    translator, X, y = fitted
    assert translator.score(X, y) > 0.5
    assert translator.score(X, [(right, "never this") for right in y]) == translator.score(X, y)
    assert translator.predict(["ab", ""])[1] == ""
    (answer,) = translator.answers(["ab"], beam=3, nbest=3)
    assert len(answer.translations) == 3
    translator.save(tmp_path / "kept")
    again = Translator.load(tmp_path / "kept")
    assert again.predict(X) == translator.predict(X)
    assert again.get_params()["hidden_size"] == OPTIONS["hidden_size"]
    with pytest.raises(RunError, match="exists"):
        translator.save(tmp_path / "kept")


def test_files_and_features(files, tmp_path):
    translator = Translator(**OPTIONS | {"epochs": 1}).fit(str(files[0]), valid=files[1])
    assert len(translator.predict(["ab"])) == 1
    rows = inflected(30)
    X, y = [(lemma, feature) for lemma, _, feature in rows], [form for _, form, _ in rows]
    options = OPTIONS | {"epochs": 1, "target_tokenizer": "char"}
    translator = Translator(**options).fit(X, y)
    assert next(translator.answers([X[0]])).source == [*X[0][0], *X[0][1].replace(";", " ").split(), "<end>"]
    with pytest.raises(ConfigError, match="leave y out"):
        Translator().fit(str(files[0]), ["a"])


def test_parameters_are_those_of_scikit_learn():
    translator = Translator(hidden_size=32, pointer=True, cell="gru")
    params = translator.get_params()
    assert (params["hidden_size"], params["pointer"]) == (32, True)
    assert clone(translator).get_params() == params
    assert translator.set_params(epochs=3).get_params()["epochs"] == 3
    with pytest.raises(ConfigError, match="Translator has no option hiden_size"):
        Translator(hiden_size=3)
    assert gateflow.Translator is Translator


BAD = [
    (["a"], ["b", "c"], "1 sources were given and 2 targets"),
    ([], [], "at least one"),
    (["a"], None, "sources were given without targets"),
    (["a", "b"], ["A", " "], "source 1 or its target is empty"),
    ([3], ["A"], "source 0 is 3"),
    (["a", "b\ud800"], ["A", "B"], "source 1 or its target holds half of a character"),
    (["a", "b"], ["A", "B\udfff"], "source 1 or its target holds half of a character"),
    ([("a", "V", "x")], ["A"], "source 0 is"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD)
def test_lists_that_do_not_fit(X, y, message):
    with pytest.raises(DataError, match=message):
        Translator(**OPTIONS).fit(X, y)


def test_errors_are_in_the_words_of_python(fitted):
    with pytest.raises(ConfigError, match="^nbest 9 cannot come out of beam 5"):
        fitted[0].answers(["ab"], nbest=9)
    with pytest.raises(DataError, match="is one text; give a list of sources"):
        fitted[0].predict("ab")
    with pytest.raises(DataError, match="source 0 or its target holds half of a character"):
        fitted[0].predict(["a\ud800b"])
    with pytest.raises(ConfigError, match="^pointer=?.*it copies what attention looks at"):
        Translator(pointer=True, attention="none").fit(["a", "b"], ["a", "b"])


@pytest.mark.parametrize("most", [0, -1, 2.5, True])
def test_a_length_that_is_none(trained, most):
    with pytest.raises(ConfigError, match="max_length .*: give a whole number of at least 1"):
        list(Translator.load(trained.path).answers(["ab"], max_length=most))


def test_a_penalty_beyond_all_numbers(trained):
    with pytest.raises(ConfigError, match="length_penalty must be a number from 0 to 50, not 1e\\+300"):
        list(Translator.load(trained.path).answers(["ab"], length_penalty=1e300))

"""`gateflow.Classifier`: parameters as scikit-learn wants them, learning from lists and files, runs kept and read."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from tests.tasks.classifier.conftest import MODEL, TRAINING
from tests.tasks.classifier.texts import opinions, topics

import gateflow
from gateflow import Classifier
from gateflow.errors import ConfigError, DataError, RunError
from gateflow.tasks.classifier.data import own_examples

OPTIONS = {**MODEL, **TRAINING}
QUICK = {**OPTIONS, "epochs": 1, "hidden_size": 4}


@pytest.fixture(scope="module")
def fitted(files):
    texts, labels = zip(*opinions(20, seed=3), strict=True)
    return Classifier(**OPTIONS).fit(*files[:1], valid=files[1]), texts, labels


def test_it_learns_from_files_and_answers(fitted):
    classifier, texts, labels = fitted
    assert classifier.score(texts, labels) > 0.9
    found, p = classifier.predict(texts), classifier.predict_proba(texts)
    assert found.shape == (20,)
    assert p.sum(1) == pytest.approx(np.ones(20), abs=1e-5)
    assert [classifier.classes_[k] for k in p.argmax(1)] == found.tolist()
    assert classifier.predict([]).shape == (0,)
    assert classifier.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize("kind", [int, str, bool, np.int64])
def test_labels_come_back_as_they_were_given(kind):
    texts, labels = zip(*opinions(30), strict=True)
    y = np.array([kind(label == "pos") for label in labels])
    classifier = Classifier(**QUICK).fit(texts, y)
    found = classifier.predict(texts)
    assert set(found.tolist()) <= set(y.tolist())
    assert found.dtype.kind == {str: "U", bool: "b"}.get(kind, "i")
    assert (found == y).mean() == classifier.score(texts, y)


def test_several_labels():
    texts, labels = zip(*topics(60), strict=True)
    classifier = Classifier(**{**QUICK, "epochs": 3}, multi_label=True).fit(texts, labels)
    assert all(isinstance(found, list) for found in classifier.predict(texts))
    assert classifier.predict_proba(texts).shape == (60, 3)
    assert 0 <= classifier.score(texts, labels) <= 1


def test_it_is_validated_by_scikit_learn():
    texts, labels = map(list, zip(*opinions(24), strict=True))
    assert is_classifier(Classifier())
    assert len(cross_val_score(Classifier(**QUICK), texts, labels, cv=2)) == 2
    assert len(cross_val_score(Classifier(**QUICK), texts, np.array(labels), cv=2, scoring="roc_auc")) == 2
    assert cross_val_predict(Classifier(**QUICK), texts, labels, cv=2, method="predict_proba").shape == (24, 2)
    search = GridSearchCV(Classifier(**QUICK), {"lr": [0.01, 0.02]}, cv=2, scoring="accuracy").fit(texts, labels)
    assert search.best_params_["lr"] in (0.01, 0.02)


def test_parameters_are_those_of_scikit_learn():
    classifier = Classifier(hidden_size=32, read_out="mean", tokenizer="char")
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.set_params(epochs=3).get_params()["epochs"] == 3
    assert repr(Classifier(cell="gru")) == "Classifier(cell='gru')"
    with pytest.raises(ConfigError, match="Classifier has no option hiden_size"):
        Classifier(hiden_size=3)
    assert "folds" not in classifier.get_params()


def test_a_run_is_kept_and_read_again(fitted, tmp_path):
    classifier, texts, _ = fitted
    classifier.save(tmp_path / "kept")
    again = Classifier.load(tmp_path / "kept")
    assert np.array_equal(again.predict_proba(texts), classifier.predict_proba(texts))
    assert again.get_params()["read_out"] == "attention"
    copy = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(copy.predict(texts), classifier.predict(texts))
    with pytest.raises(RunError, match="exists"):
        classifier.save(tmp_path / "kept")
    assert gateflow.Classifier is Classifier


BAD = [
    (["a", "b"], ["x"], "2 texts were given and 1 labels"),
    ([], [], "no texts were given"),
    ("a text", ["x"] * 6, "is one text; give a list"),
    (["a", None], ["x", "y"], "text 1 is None, and no text"),
    (["a", "b\ud800"], ["x", "y"], "text 1 holds half of a character"),
    (["a", "b"], ["x", 0.5], "text 1 has the label 0.5"),
    (["a", "b"], [1, 10**30], "text 1 has the label 1000.* a whole number has 64 bits"),
    (["a", "b"], ["x", " y"], "text 1 has the label ' y'"),
    (["a", "b"], ["x", "y\ud800"], "text 1 has half of a character in its label"),
    (["a"], None, "texts were given without labels"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD)
def test_lists_that_do_not_fit(X, y, message):
    with pytest.raises(DataError, match=message):
        Classifier(**QUICK).fit(X, y)


def test_what_cannot_be_asked():
    with pytest.raises(ConfigError, match="this Classifier has learnt nothing yet"):
        Classifier().predict(["a"])
    with pytest.raises(DataError, match="with multi_label give a list of labels"):
        Classifier(multi_label=True).fit(["a", "b"], ["x", "y"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": 20}, "bands=20 would do nothing: it belongs to input sound"),
        ({"scale": "none"}, "scale='none' would do nothing: it belongs to input series"),
        ({"threshold": 0.4}, "threshold=0.4 would do nothing: it belongs to multi_label=True"),
        ({"momentum": 0.8}, "momentum=0.8 would do nothing: it belongs to optimizer sgd"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, message):
    texts, labels = zip(*opinions(20), strict=True)
    with pytest.raises(ConfigError, match=message):
        Classifier(**QUICK, **options).fit(texts, labels)


def test_a_column_of_a_file_may_be_that_of_authors(tmp_path):
    rows = "".join(f"{text} {i},{label},{i // 5}\n" for i, (text, label) in enumerate(opinions(40)))
    file = tmp_path / "films.csv"
    file.write_text(f"text,label,author\n{rows}")
    classifier = Classifier(**QUICK).fit(file, group="author")
    train, valid = (own_examples(classifier.run_, classifier.targets_, part) for part in ("train", "valid"))
    authors = [{int(text.text.split()[-1]) // 5 for text in part} for part in (train, valid)]
    assert authors[0] | authors[1] == set(range(8))
    assert not authors[0] & authors[1]
    with pytest.raises(ConfigError, match="group tells how a file is read, and X is none"):
        Classifier(**QUICK).fit(["a", "b"], ["x", "y"], group="author")


def test_a_run_of_another_task_is_none(tmp_path):
    (tmp_path / "config.toml").write_text('format = 1\ntask = "tagger"\n')
    with pytest.raises(RunError, match="is a run of the task tagger, and not of classifier"):
        Classifier.load(tmp_path)


def test_texts_may_hold_whatever_a_text_can(tmp_path):
    texts, labels = map(list, zip(*opinions(20), strict=True))
    texts[0] += "\t\n\r\0\u2028 곰 \U0001f600\ufeff"
    classifier = Classifier(**QUICK, out=tmp_path / "run").fit(texts, labels)
    assert len(classifier.predict([texts[0]])) == 1

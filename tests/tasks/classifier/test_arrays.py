"""Arrays and columns of tables in Python: rows by their places, labels as they came, scikit-learn's figures."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from tests.tasks.classifier.numbers import series, table
from tests.tasks.classifier.texts import opinions

from gateflow import Classifier
from gateflow.errors import ConfigError, DataError

OPTIONS = {"hidden_size": 6, "epochs": 12, "batch_size": 8, "lr": 0.03, "dropout": 0.0, "warmup": 0}
X, LABELS = map(list, zip(*series(36), strict=True))
Y = [int(label == "high") for label in LABELS]


class Column:
    """As a column of pandas that was sorted or cut: gone through by place, asked by the number of the row."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, row):
        return self.values[-1 - row]


class Table(Column):
    """As a data frame, which is gone through by the names of its columns."""

    columns = ("a", "b")

    def __iter__(self):
        return iter(self.columns)


def test_labels_of_a_column_are_taken_by_place():
    texts, labels = map(list, zip(*opinions(40), strict=True))
    options = {**OPTIONS, "embedding_size": 8, "epochs": 1}
    plain = Classifier(**options).fit(texts, labels, groups=range(40))
    column = Classifier(**options).fit(Column(texts), Column(labels), groups=Column(range(40)))
    assert np.array_equal(plain.predict_proba(texts), column.predict_proba(texts))
    assert Classifier(**OPTIONS).fit(X, Column(Y)).score(X, Column(Y)) > 0.7


@pytest.mark.parametrize("given", [(Table(X), Y), (X, Table(Y)), ({"a": X}, Y)])
def test_tables_are_refused(given):
    with pytest.raises(DataError, match="is a table; give one of its columns"):
        Classifier(**OPTIONS).fit(*given)


def test_whole_numbers_come_back_and_scikit_learn_scores_them():
    classifier = Classifier(**OPTIONS).fit(np.stack([values[:3] for values in X]), np.array(Y))
    assert classifier.classes_.tolist() == [0, 1]
    assert classifier.predict(X).dtype.kind == "i"
    assert cross_val_score(Classifier(**OPTIONS), X, Y, cv=2, scoring="accuracy").min() > 0.6
    search = GridSearchCV(Classifier(**{**OPTIONS, "epochs": 1}), {"lr": [0.01, 0.02]}, cv=2, scoring="accuracy")
    assert 0 <= search.fit(X, Y).best_score_ <= 1
    several = Classifier(**OPTIONS, multi_label=True).fit(X, [[3] if y else [] for y in Y])
    assert several.classes_.tolist() == [3]
    assert {label for found in several.predict(X) for label in found} <= {3}


def test_numbers_are_predicted(tmp_path):
    y = np.array([3.5 * values.mean() for values in X], np.float32)
    regressor = Classifier(**{**OPTIONS, "epochs": 20}, regression=True)
    assert is_regressor(clone(regressor))
    regressor.fit(X, y)
    found = regressor.predict(X)
    assert found.dtype == np.float64
    assert regressor.score(X, y) == pytest.approx(r2_score(y, found), rel=1e-6)
    assert regressor.score(X, y) > 0.8
    with pytest.raises(ConfigError, match="numbers, which have no probabilities"):
        regressor.predict_proba(X)
    regressor.save(tmp_path / "run")
    np.savez(tmp_path / "x.npz", x=np.stack([values[:3] for values in X]))
    code = "import sys, gateflow; print(gateflow.Classifier.load(sys.argv[1]).predict(sys.argv[2]).tolist())"
    command = [sys.executable, "-c", code, str(tmp_path / "run"), str(tmp_path / "x.npz")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert eval(told) == pytest.approx(regressor.predict([values[:3] for values in X]).tolist(), rel=1e-5)


NO_NUMBERS = [
    ([0.1] * 36, "every example to learn from has the same number, 0.1"),
    ([1e300, -1e300] * 18, "cannot be told apart"),
    ([0.5, float("nan")] * 18, "not finite"),
    (["a", "b"] * 18, "is no number"),
    (list(np.arange(36.0)[:, None]), "a label is"),
]


@pytest.mark.parametrize(("y", "message"), NO_NUMBERS)
def test_numbers_that_cannot_be_learnt(y, message):
    with pytest.raises(DataError, match=message):
        Classifier(**OPTIONS, regression=True).fit(X, y)


def test_other_channels_are_refused_wherever_they_come(tmp_path):
    classifier = Classifier(**{**OPTIONS, "epochs": 1}).fit(X, Y)
    other = [np.zeros((3, 5))] * 2
    for ask in (
        lambda: classifier.predict(other),
        lambda: classifier.score(other, [0, 1]),
        lambda: Classifier(**OPTIONS).fit(X, Y, valid=(other, [0, 1])),
    ):
        with pytest.raises(DataError, match="5 channels, and what was learnt from had 2"):
            ask()


def test_what_would_change_nothing_is_refused(tmp_path):
    file = table(tmp_path / "a.csv", series(20))
    with pytest.raises(ConfigError, match="groups are those of a list"):
        Classifier(**OPTIONS).fit(file, groups=[1] * 20)
    with pytest.raises(ConfigError, match="label tells how a file is read"):
        Classifier(**OPTIONS).fit(X, Y, label="y")
    with pytest.raises(ConfigError, match="order tells how a file is read"):
        Classifier(**OPTIONS, order="pixels").fit(X, Y)


def test_a_generator_is_gone_through_once():
    assert Classifier(**OPTIONS).fit((values for values in X), Y).score(X, Y) > 0.7

"""`Classifier`: the same training and the same predictions as on the command line, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np

from gateflow.data.labelled import Label, LabelledText
from gateflow.errors import DataError
from gateflow.tasks.classifier import CLASSIFIER
from gateflow.tasks.classifier.data import write_texts
from gateflow.tasks.classifier.loading import load_labels, load_model, load_vocabulary
from gateflow.tasks.classifier.prediction import Answer, predict
from gateflow.tasks.estimator import Estimator

__all__ = ["Classifier"]


class Classifier(Estimator):
    """Gives a text a label, or several: opinions, topics, languages, whatever the examples have.

    Args:
        options: those of ``gateflow train classifier --help``, with underscores: `cell`, `hidden_size`, `read_out`,
            `tokenizer`, `epochs`, `lr`, `class_weights`, `multi_label`, … A name that is none is refused here, a value
            when `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Attributes:
        classes_: the labels, in the order of the columns of `predict_proba`.

    Raises:
        ConfigError: there is no such option.

    Example:
        >>> X = ["terribly exciting", "terribly dull", "an exciting film", "a dull film"] * 8
        >>> y = ["good", "bad", "good", "bad"] * 8
        >>> valid = ["exciting", "dull", "a terribly exciting film", "a terribly dull film"], y[:4]
        >>> classifier = Classifier(hidden_size=8, embedding_size=8, epochs=20, lr=0.02).fit(X, y, valid=valid)
        >>> classifier.predict(["an exciting one", "dull"]).tolist()
        ['good', 'bad']
        >>> classifier.predict_proba(["exciting"]).shape
        (1, 2)
    """

    description: ClassVar = CLASSIFIER
    # Columns, separators and folds are those of files; `fit` is given lists, and scikit-learn makes its own folds.
    of_fit: ClassVar = frozenset({"train", "valid", "text", "label", "separator", "folds", "fold"})

    # What scikit-learn 1.5 and older ask for; since then it asks for tags.
    _estimator_type: ClassVar = "classifier"

    def __sklearn_tags__(self) -> Any:
        """What `cross_val_score` and `GridSearchCV` ask of an estimator: that folds are stratified, among others."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_label=bool(vars(self)["multi_label"])),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def fit(
        self,
        X: str | Path | Sequence[str],
        y: Sequence[Any] | None = None,
        *,
        valid: str | Path | tuple[Sequence[str], Sequence[Any]] | None = None,
        text: str | None = None,
        label: str | None = None,
        force: bool = False,
    ) -> Self:
        """Learn from labelled texts; the weights of the best validation are kept.

        Args:
            X: a file as of ``--data``, or texts.
            y: the label of each text, a text or a whole number; with `multi_label` a list of labels for each text.
                Left out where `X` is a file.
            valid: a file, or a pair like `X, y`, to validate on; else a tenth of `X`, drawn.
            text, label: the columns of a file, by name or number.
            force: replace the run that is at `out`.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        with TemporaryDirectory() as folder:
            files: dict[str, Any] = {"train": self._file(X, y, Path(folder, "train.jsonl"))}
            if valid is not None:
                pair = (valid, None) if isinstance(valid, str | Path) else valid
                files["valid"] = self._file(*pair, Path(folder, "valid.jsonl"))
            if y is None:
                files |= {name: value for name, value in (("text", text), ("label", label)) if value is not None}
            run = self._set_up(files, force=force)
        self._train(run)
        return self

    def predict(self, X: Iterable[str]) -> Any:
        """The label of each text, an array ``[N]``; with `multi_label` a list of labels for each text."""
        found = [tuple(map(self.labels_.given, answer.labels)) for answer in self.answers(X)]
        if self.labels_.multi_label:
            return [list(labels) for labels in found]
        return np.array([labels[0] for labels in found], dtype=self.classes_.dtype)

    def predict_proba(self, X: Iterable[str]) -> np.ndarray:
        """The probability of each label for each text, ``[N, K]``, columns as in `classes_`."""
        return np.array([answer.probabilities for answer in self.answers(X)]).reshape(-1, len(self.classes_))

    def answers(self, X: Iterable[str], *, weights: bool = False) -> Iterator[Answer]:
        """All that the classifier says of each text; see `gateflow.tasks.classifier.prediction.predict`."""
        longest = self._run.config().data.longest
        return predict(self.model_, self.vocabulary_, self.labels_, _texts(X), longest=longest, weights=weights)

    def score(self, X: Sequence[str], y: Sequence[Any]) -> float:
        """The share of texts whose label is right, or, with `multi_label`, of which all labels are.

        Raises:
            DataError: there are no texts, or not as many labels.
        """
        rows = _rows(X, y, bool(vars(self)["multi_label"]))
        given = [set(answer.labels) for answer in self.answers(X)]
        right = [{str(label) for label in row.labels} == found for row, found in zip(rows, given, strict=True)]
        return sum(right) / len(right)

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.labels_, self.vocabulary_ = load_labels(run), load_vocabulary(run)
        self.model_ = load_model(run, self.vocabulary_, self.labels_)
        self.classes_ = np.array([self.labels_.given(name) for name in self.labels_.names])
        self.run_ = run

    def _file(self, X: str | Path | Sequence[str], y: Any, file: Path) -> Path:
        """A file of labelled texts: the one that is given, or one that is written now."""
        if isinstance(X, str | Path) and y is None:
            return Path(X)
        if y is None:
            raise DataError("texts were given without labels; give fit both, as fit(X, y), or the name of a file.")
        write_texts(file, _rows(_list(X), y, bool(vars(self)["multi_label"])))
        return file


def _rows(X: Sequence[str], y: Sequence[Any], multi_label: bool) -> list[LabelledText]:
    """Texts with their labels.

    Raises:
        DataError: there are none, or not as many of each, or one is something else.
    """
    if len(X) != len(y):
        raise DataError(f"{len(X)} texts were given and {len(y)} labels; give one for each text.")
    if not len(X):
        raise DataError("no texts were given; give some, as fit(['a good film', 'a bad film'], ['good', 'bad']).")
    return [LabelledText(text, _labels(i, y[i], multi_label), line=i) for i, text in enumerate(_texts(X))]


def _list(X: str | Path | Sequence[str]) -> Sequence[str]:
    """The texts; one alone is none, though it too can be gone through piece by piece."""
    if isinstance(X, str | Path):
        raise DataError(f"{str(X)!r:.60} is one text; give a list of texts, as ['a good film'].")
    return X


def _labels(i: int, given: Any, multi_label: bool) -> tuple[Label, ...]:
    if multi_label:
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise DataError(f"text {i} has {given!r:.60}; with multi_label give a list of labels for each text.")
        return tuple(dict.fromkeys(_label(i, label) for label in given))
    return (_label(i, given),)


def _label(i: int, label: Any) -> Label:
    if isinstance(label, bool | np.bool_):
        return str(bool(label)).lower()
    if isinstance(label, int | np.integer):
        return int(label)
    if not isinstance(label, str) or not label or label != label.strip():
        raise DataError(
            f"text {i} has the label {label!r:.60}; a label is a whole number, or a text without spaces around."
        )
    return str(label)


def _texts(X: Iterable[str]) -> Iterator[str]:
    """The texts, each looked at."""
    for i, text in enumerate(_list(X) if isinstance(X, str) else X):
        if not isinstance(text, str):
            raise DataError(f"text {i} is {text!r:.60}, and no text; give a list of texts, as ['a good film'].")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"text {i} holds half of a character, {text!r:.60}; read it anew from its source."
            ) from None
        yield str(text)

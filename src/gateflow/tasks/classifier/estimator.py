"""`Classifier`: the same training and the same predictions as on the command line, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from gateflow.errors import ConfigError, DataError
from gateflow.tasks.classifier import CLASSIFIER
from gateflow.tasks.classifier.given import examples, kind_of_given, labelled
from gateflow.tasks.classifier.inputs.base import Asked
from gateflow.tasks.classifier.learnt import Learnt
from gateflow.tasks.classifier.loading import input_of, load
from gateflow.tasks.classifier.prediction import Answer, predict
from gateflow.tasks.classifier.regression import NumberMeasures
from gateflow.tasks.classifier.targets import Labels
from gateflow.tasks.estimator import Estimator

__all__ = ["Classifier"]


# Options that say how a file of series is read, with their defaults.
_OF_FILES: Mapping[str, Any] = {"series": None, "time": None, "channels": "", "order": "rows"}


class Classifier(Estimator):
    """Gives a text, a series of numbers, an image or a sound a label, or several; or a number.

    Examples are texts; arrays of numbers, ``[T, C]`` or ``[T]`` each; one array ``[N, T, C]``; or a file as of
    ``--data``.

    Args:
        options: those of ``gateflow train classifier --help``, with underscores: `cell`, `hidden_size`, `read_out`,
            `tokenizer`, `epochs`, `lr`, `class_weights`, `multi_label`, `regression`, `per_step`, … A name that is none
            is refused here, a value when `fit` begins.
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
    of_fit: ClassVar = frozenset({"train", "valid", "text", "label", "group", "separator", "folds", "fold"})

    @property
    def _estimator_type(self) -> str:
        """What scikit-learn 1.5 and older ask for; since then it asks for tags."""
        return "regressor" if vars(self)["regression"] else "classifier"

    def __sklearn_tags__(self) -> Any:
        """What `cross_val_score` and `GridSearchCV` ask of an estimator: that folds are stratified, among others."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        numbers = bool(vars(self)["regression"])
        return Tags(
            estimator_type="regressor" if numbers else "classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=None if numbers else ClassifierTags(multi_label=bool(vars(self)["multi_label"])),
            regressor_tags=RegressorTags() if numbers else None,
            input_tags=InputTags(two_d_array=False, three_d_array=True, string=True, allow_nan=True),
        )

    def fit(
        self,
        X: str | Path | Sequence[Any],
        y: Sequence[Any] | None = None,
        *,
        valid: str | Path | tuple[Sequence[Any], Sequence[Any]] | None = None,
        groups: Sequence[Any] | None = None,
        text: str | None = None,
        label: str | None = None,
        group: str | None = None,
        force: bool = False,
    ) -> Self:
        """Learn from labelled examples; the weights of the best validation are kept.

        Args:
            X: a file as of ``--data``, or examples.
            y: the label of each example, a text or a whole number; with `multi_label` a list of labels for each, with
                `per_step` one for each step, with `regression` numbers. Left out where `X` is a file.
            valid: a file, or a pair like `X, y`, to validate on; else a tenth of `X`, drawn.
            groups: the author, speaker or the like of each example: none of them is in both parts.
            text, label, group: the columns of a file, by name or number.
            force: replace the run that is at `out`.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        is_file = isinstance(X, str | Path) and y is None
        # A generator is gone through twice below.
        X = X if isinstance(X, str | Path) or hasattr(X, "__len__") else list(X)
        self._refuse_idle(is_file, groups, text=text, label=label, group=group)
        data: dict[str, Any] = {"train": X if is_file else Path("X")}
        given = {} if is_file else {"train": self._given(X, y, groups)}
        if isinstance(valid, str | Path):
            data["valid"] = valid
        elif valid is not None:
            data["valid"], given["valid"] = Path("valid"), self._given(*valid)
        if y is None:
            data |= {name: column for name, column in (("label", label), ("group", group)) if column is not None}
        sections = {"texts": {"text": text}} if y is None and text is not None else {}
        if given:
            data["input"] = kind_of_given(X)
        self._train(self._set_up(data, force=force, given=given, more=sections))
        return self

    def _refuse_idle(self, is_file: bool, groups: Any, **columns: str | None) -> None:
        """Refuse what would change nothing."""
        if is_file and groups is not None:
            raise ConfigError("groups are those of a list of examples, and X is a file; group names a column of it.")
        of_file = columns | {name: vars(self)[name] for name in _OF_FILES}
        idle = [name for name, value in of_file.items() if value != _OF_FILES.get(name)]
        if not is_file and idle:
            raise ConfigError(f"{idle[0]} tells how a file is read, and X is none. Leave it out.")

    def predict(self, X: str | Path | Iterable[Any]) -> Any:
        """The label of each example, an array ``[N]``; with `multi_label` a list of labels for each; with `regression`
        numbers; with `per_step` an array for each example.
        """
        found = [self._plain(answers) for answers in self._all_answers(X)]
        if self.targets_.per_step:
            return found
        plain = [of_one[0] for of_one in found]
        if isinstance(self.targets_, Labels) and self.targets_.multi_label:
            return plain
        return np.array(plain, dtype=self.classes_.dtype if isinstance(self.targets_, Labels) else np.float64)

    def predict_proba(self, X: str | Path | Iterable[Any]) -> Any:
        """The probability of each label for each example, ``[N, K]``, columns as in `classes_`.

        With `per_step` an array ``[T, K]`` for each.

        Raises:
            ConfigError: numbers are found, and no labels.
        """
        if not isinstance(self.targets_, Labels):
            raise ConfigError("this Classifier finds numbers, which have no probabilities; ask predict for them.")
        rows = [[answer.probabilities for answer in answers] for answers in self._all_answers(X)]
        if self.targets_.per_step:
            return [np.array(of_one) for of_one in rows]
        return np.array([of_one[0] for of_one in rows]).reshape(-1, len(self.classes_))

    def answers(self, X: Iterable[Any], *, weights: bool = False) -> Iterator[Answer]:
        """All that the classifier says of each example; see `gateflow.tasks.classifier.prediction.predict`.

        With `per_step` of each step, one example after the other.
        """
        return (answer for answers in self._all_answers(X, weights=weights) for answer in answers)

    def score(self, X: Sequence[Any], y: Sequence[Any]) -> float:
        """The share of examples whose label is right, or, with `multi_label`, of which all labels are; R² of numbers.

        Raises:
            DataError: there are no examples, or not as many labels.
        """
        from gateflow.tasks.classifier.evaluation import measured

        rows = [self._learnt.encoder.fitting(row) for row in self._given(X, y)]
        measures = measured(self.targets_, rows, list(predict(self._learnt, rows)))
        return measures.r2 if isinstance(measures, NumberMeasures) else measures.accuracy

    @property
    def _learnt(self) -> Learnt:
        return self._run and Learnt(self.model_, self.encoder_, self.targets_)

    def _all_answers(self, X: str | Path | Iterable[Any], *, weights: bool = False) -> Iterator[list[Answer]]:
        learnt, config = self._learnt, self._run.config()
        if isinstance(X, str | Path) and config.data.input != "text":
            asked = Asked(labelled=False, channels=learnt.encoder.channel_names)
            found: Iterable[Any] = input_of(config).read(Path(X), config, asked)
        else:
            found = examples(X, config.data.input)
        return predict(learnt, map(learnt.encoder.fitting, found), weights=weights)

    def _plain(self, answers: Sequence[Answer]) -> Any:
        """Labels as they came, or numbers, of one example."""
        targets = self.targets_
        if not isinstance(targets, Labels):
            return np.array([answer.number for answer in answers])
        given = [list(map(targets.given, answer.labels)) for answer in answers]
        return given if targets.multi_label else np.array([labels[0] for labels in given], dtype=self.classes_.dtype)

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.model_, self.encoder_, self.targets_ = load(run)
        if isinstance(self.targets_, Labels):
            self.classes_ = np.array([self.targets_.given(name) for name in self.targets_.names])
        self.run_ = run

    def _given(self, X: str | Path | Sequence[Any], y: Any, groups: Any = None) -> list[Any]:
        """Labelled examples out of lists."""
        if y is None:
            what = "texts" if kind_of_given(X) == "text" else "series"
            raise DataError(f"{what} were given without labels; give fit both, as fit(X, y), or the name of a file.")
        asked = {name: bool(vars(self)[name]) for name in ("multi_label", "per_step", "regression")}
        return labelled(X, y, kind_of_given(X), groups=groups, **asked)

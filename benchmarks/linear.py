"""What linear models make of labelled texts, beside our classifier: TF-IDF with logistic regression, and NBSVM.

    python -m benchmarks.linear --data FILE [--valid FILE] [--test FILE] [--folds 10] [--text COLUMN] [--label COLUMN]
                                [--tokenizer word|char] [--json linear.json]

Files, tokens and parts are those of the classifier: what is held out, and each fold, holds the same texts as there. The
strength of regularisation is chosen on the part to validate on, from one grid for both; the weight of a label is the
same for all. A figure is the accuracy on the fold or on --test if there is one, else on the part that C was chosen on.

* TF-IDF: sublinear term frequencies of one to two words (one to four characters), logistic regression.
* NBSVM: whether one to two words occur, each weighted by how much more often it does with a label than without, linear
  support vectors on that, and the mean of their weights mixed in. Wang, Manning (2012), Baselines and bigrams, ACL; its
  β is 0.25. Of several labels each against all others.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC

from gateflow.data.labelled import LabelledText
from gateflow.data.words import lowered
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.data import read_parts
from gateflow.tasks.classifier.inputs.texts import TextInput
from gateflow.tasks.classifier.inputs.vocabulary import Words

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""C, of which the best on the part to validate on is taken."""
BETA = 0.25
# Features that occur once cannot tell two texts from each other, and are most of all.
RAREST = 2
LONGEST = 1 << 20

Predict = Callable[[csr_matrix], np.ndarray]


class Part(NamedTuple):
    """Texts, and their labels."""

    texts: list[str]
    labels: np.ndarray

    @classmethod
    def of(cls, found: Sequence[LabelledText]) -> Part:
        return cls([text.text for text in found], np.array([str(text.labels[0]) for text in found]))


class Found(NamedTuple):
    """One model on one cut of the texts."""

    accuracy: float
    macro_f1: float
    strength: float
    seconds: float


def tf_idf(tokenizer: Literal["word", "char"], train: Part) -> tuple[Any, Callable[[csr_matrix, float], Predict]]:
    """A vectorizer that is fitted, and what fits a model to its features."""
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=RAREST, **_features(tokenizer))
    vectorizer.fit(train.texts)

    def fit(features: csr_matrix, strength: float) -> Predict:
        return LogisticRegression(C=10 * strength, max_iter=300).fit(features, train.labels).predict

    return vectorizer, fit


def nbsvm(tokenizer: Literal["word", "char"], train: Part) -> tuple[Any, Callable[[csr_matrix, float], Predict]]:
    """A vectorizer that is fitted, and what fits a model to its features."""
    vectorizer = CountVectorizer(binary=True, min_df=RAREST, **_features(tokenizer))
    vectorizer.fit(train.texts)
    names = np.unique(train.labels)

    def fit(features: csr_matrix, strength: float) -> Predict:
        # Of two labels one model says all.
        models = [
            _scores(features, train.labels == name, strength) for name in (names if len(names) > 2 else names[1:])
        ]
        if len(models) == 1:
            return lambda of: names[(models[0](of) > 0).astype(int)]
        return lambda of: names[np.argmax([model(of) for model in models], axis=0)]

    return vectorizer, fit


def _scores(features: Any, gold: np.ndarray, strength: float) -> Callable[[csr_matrix], np.ndarray]:
    """What scores one label against all others."""
    having, lacking = (1 + np.asarray(features[rows].sum(0)).ravel() for rows in (gold, ~gold))
    ratio = np.log(having / having.sum()) - np.log(lacking / lacking.sum())
    model = LinearSVC(C=strength).fit(features.multiply(ratio).tocsr(), gold)
    weights, bias = np.asarray(model.coef_)[0], np.ravel(model.intercept_)[0]
    mixed = ratio * ((1 - BETA) * np.abs(weights).mean() + BETA * weights)
    return lambda of: of @ mixed + bias


MODELS = {"TF-IDF, logistic regression": tf_idf, "NBSVM": nbsvm}


def _features(tokenizer: Literal["word", "char"]) -> dict[str, Any]:
    words = Words(tokenizer, ())

    def cut(text: str) -> list[str]:
        return [lowered(token.text) for token in words.cut(text, LONGEST)]

    longest = 2 if tokenizer == "word" else 4
    return {"tokenizer": cut, "token_pattern": None, "lowercase": False, "ngram_range": (1, longest)}


def measured(name: str, tokenizer: Literal["word", "char"], train: Part, valid: Part, test: Part) -> Found:
    """The model of the best strength, on the texts to be tested on."""
    began = time.perf_counter()
    vectorizer, fit = MODELS[name](tokenizer, train)
    features, of_valid = vectorizer.transform(train.texts), vectorizer.transform(valid.texts)
    fitted = {strength: fit(features, strength) for strength in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: float((fitted[strength](of_valid) == valid.labels).mean()))
    given = fitted[best](vectorizer.transform(test.texts))
    accuracy, f1 = float((given == test.labels).mean()), float(f1_score(test.labels, given, average="macro"))
    return Found(accuracy, f1, best, time.perf_counter() - began)


def cuts(config: ClassifierConfig, test: Path | None) -> Iterator[tuple[Part, Part, Part]]:
    """What is learnt from, validated on and tested on, once or for each fold."""
    kind, folds = TextInput(), config.data.folds
    for fold in range(1, folds + 1) if folds else [None]:
        data = config.data.model_copy(update={"fold": fold})
        parts = read_parts(config.model_copy(update={"data": data}), kind, {})
        others = parts.test or (kind.read(test, config) if test else parts.valid)
        yield Part.of(parts.train), Part.of(parts.valid), Part.of(others)


def main() -> None:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "valid", "test", "json"):
        parser.add_argument(f"--{name}", type=Path, required=name == "data")
    for name in ("text", "label"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--folds", type=int)
    parser.add_argument("--tokenizer", choices=["word", "char"], default="word")
    typed = parser.parse_args()
    data = {"train": typed.data, "valid": typed.valid, "label": typed.label, "folds": typed.folds, "input": "text"}
    config = ClassifierConfig.build({"data": data, "texts": {"text": typed.text}})
    parts = list(cuts(config, typed.test))
    found = {name: [measured(name, typed.tokenizer, *cut) for cut in parts] for name in MODELS}
    table = Table("model", "accuracy %", "macro F1 %", "C", "seconds")
    for name, rows in found.items():
        shares = (_spoken([row[k] for row in rows]) for k in (0, 1))
        strengths = ", ".join(sorted({f"{row.strength:g}" for row in rows}))
        table.add_row(name, *shares, strengths, f"{sum(row.seconds for row in rows):.0f}")
    Console().print(table)
    if typed.json:
        typed.json.write_text(json.dumps({name: [row._asdict() for row in rows] for name, rows in found.items()}))


def _spoken(shares: Sequence[float]) -> str:
    spread = f" ± {100 * stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{100 * fmean(shares):.2f}{spread}"


if __name__ == "__main__":
    main()

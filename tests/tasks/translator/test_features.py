"""Features that are missing, too many or new are told with their line, once for each kind."""

import warnings

import pytest
from tests.tasks.translator.conftest import TOKENS
from tests.tasks.translator.pairs import inflected, write

from gateflow import Translator
from gateflow.data.parallel import ParallelText
from gateflow.errors import DataWarning
from gateflow.tasks.translator.config import TranslatorConfig
from gateflow.tasks.translator.data import set_up
from gateflow.tasks.translator.features import Features
from gateflow.tasks.translator.loading import load_vocabularies


def told(vocabularies, *sources):
    pairs = [ParallelText(text, (), features, line) for line, (text, features) in enumerate(sources, 1)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(Features(vocabularies).looked_at(pairs)) == pairs
    return [str(warning.message) for warning in caught]


@pytest.fixture(scope="module")
def of_forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    data = {"train": write(folder / "train.tsv", inflected()), "features": "3"}
    return set_up(folder / "run", TranslatorConfig.build({"data": data, "tokens": {"tokenizer": "char"}}))


def test_a_run_with_features(of_forms):
    vocabularies = load_vocabularies(of_forms)
    assert told(vocabularies, ("ab", "V;PST"), ("", ""), ("ba", "V;PRS;3")) == []
    missing, new = told(vocabularies, ("ab", "V;PST"), ("ab", ""), ("ab", ""), ("ab", "V;FUT"), ("ab", "V;FUT"))
    assert missing.startswith("line 2: no features, and this run has learnt from some")
    assert new.startswith("line 4: the feature 'FUT' was in no pair of the training")


def test_in_python_it_is_sources_that_are_counted(trained):
    forms, small = inflected(12), {"hidden_size": 4, "embedding_size": 4, "epochs": 1}
    X, y = [(lemma, features) for lemma, _, features in forms], [form for _, form, _ in forms]
    translator = Translator(tokenizer="char", **small).fit(X, y)
    with pytest.warns(DataWarning) as caught:
        translator.predict(["ab", "ba\tV;PST"], max_length=2, beam=1)
    (text,) = [str(warning.message) for warning in caught]
    assert text.startswith("source 0: no features, and this run has learnt from some; give them beside it, as (text, f")
    assert text.endswith("Sources after it are not told of.")
    with pytest.warns(DataWarning, match=r"^source 1: features 'V;PST', and this run has learnt none"):
        Translator.load(trained.path).predict(["ab", ("ba", "V;PST")])


def test_a_run_without(trained):
    vocabularies = load_vocabularies(trained)
    assert told(vocabularies, ("ab", "")) == []
    assert told(vocabularies, ("ab", ""), ("ab\tV;PST", ""))[0].startswith("line 2: a tab in the source")
    assert told(vocabularies, ("ab", "V;PST"))[0].startswith("line 1: features 'V;PST', and this run has learnt none")


def test_pairs_to_learn_from_without_features_are_counted(tmp_path):
    rows = [(source, target, features if k else " ") for k, (source, target, features) in enumerate(inflected())]
    valid = write(tmp_path / "valid.tsv", [("abcabc", "abcabced", "V;PST")])  # longer than any other
    data = {"train": write(tmp_path / "train.tsv", rows), "valid": valid, "features": "3"}
    with pytest.warns(DataWarning, match="1 of the .* pairs have no features, the first in line 1"):
        set_up(tmp_path / "run", TranslatorConfig.build({"data": data, "tokens": TOKENS}))

"""`gateflow.Tagger`: parameters as scikit-learn wants them, learning from lists and files, runs kept and read."""

import pickle
import re
from pathlib import Path

import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from tests.tasks.tagger.conftest import MODEL, TRAINING
from tests.tasks.tagger.sentences import sentences

import gateflow
from gateflow import Tagger
from gateflow.data.spans import converted
from gateflow.errors import ConfigError, DataError, RunError
from gateflow.tasks.tagger.task import own_sentences

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


def test_the_score_does_not_depend_on_the_scheme(fitted):
    tagger, words, tags = fitted
    for scheme in ("BIOES", "IOB1"):
        assert tagger.score(words, [converted(row, "IOB2", scheme) for row in tags]) == tagger.score(words, tags)
    assert tagger.score(words, {"tag": tags}) == tagger.score(words, tags)


def test_it_is_validated_by_scikit_learn():
    words, tags = zip(*sentences(60), strict=True)
    options = {**OPTIONS, "epochs": 2, "hidden_size": 4}
    assert len(cross_val_score(Tagger(**options), list(words), list(tags), cv=2)) == 2
    search = GridSearchCV(Tagger(**options), {"lr": [0.01, 0.02]}, cv=2).fit(list(words), list(tags))
    assert search.best_params_["lr"] in (0.01, 0.02)


def test_a_text_is_no_list_of_words(fitted):
    for X in ("Teddy came", ["Teddy came"]):
        with pytest.raises(DataError, match="give"):
            fitted[0].predict(X)
    # As many tags as letters, and as few.
    with pytest.raises(DataError, match="sentence 0 is a text"):
        Tagger(epochs=1).fit(["a b"], [["O", "O"]])
    with pytest.raises(DataError, match="sentence 0 is a text"):
        Tagger(**OPTIONS).fit(["abc"], ["XYZ"])
    assert repr(Tagger(cell="gru")) == "Tagger(cell='gru')"


def test_a_run_that_went_with_its_process_is_told(tmp_path):
    words, tags = zip(*sentences(20), strict=True)
    tagger = pickle.loads(pickle.dumps(Tagger(**{**OPTIONS, "epochs": 1}).fit(words, tags)))  # the first one is gone
    assert len(tagger.predict([["Teddy"]])[0]) == 1
    with pytest.raises(RunError, match="went with the process that trained it"):
        tagger.save(tmp_path / "kept")


def test_parameters_are_those_of_scikit_learn():
    tagger = Tagger(hidden_size=32, crf=True, cell="gru")
    params = tagger.get_params()
    assert (params["hidden_size"], params["crf"]) == (32, True)
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
    ([["a", "b"]], [["X"]], "sentence 0 has 2 words and 1 tags of tag"),
    ([["a"], ["b"]], [["X"]], "2 sentences were given and 1 rows of tag"),
    ([["a\tb"]], [["X"]], "sentence 0 holds 'a\\\\tb'"),
    ([["a", ""]], [["X", "Y"]], "sentence 0 holds ''"),
    ([["-DOCSTART-", "b"]], [["X", "Y"]], "sentence 0 holds '-DOCSTART-', which marks a document"),
    ([["a", "b\ud800"]], [["X", "Y"]], "sentence 0 holds half of a character"),
    ([["a", "b"]], [["X", "Y\ud800"]], "sentence 0 holds half of a character"),
    ([["a"]], None, "sentences were given without tags"),
]


@pytest.mark.parametrize(("X", "y", "message"), BAD)
def test_lists_that_do_not_fit(X, y, message):
    with pytest.raises(DataError, match=message):
        Tagger(**OPTIONS).fit(X, y)


WORDS, TAGS = [["Teddy", "came"], ["bears", "came"], ["Rosa", "left"]], [["B-PER", "O"], ["O", "O"], ["B-PER", "O"]]
OF_FIT = [
    ({"hidden_size": 0}, {}, ConfigError, "hidden_size 0: input should be greater"),
    ({"crf": "perhaps"}, {}, ConfigError, "^crf perhaps: input should be a valid boolean"),
    ({"clip": "much"}, {}, ConfigError, "clip much: neither a number"),
    ({"embeddings": "a.vec", "from_lm": "b"}, {}, ConfigError, "embeddings gives the words their vectors already"),
    ({"embeddings": "nowhere.vec"}, {}, DataError, "nowhere.vec"),
    ({"from_lm": "nowhere"}, {}, RunError, "there is no run at nowhere"),
    ({"accumulate": 50}, {}, ConfigError, "accumulate 50: the training data have only"),
    ({"group": "document"}, {}, ConfigError, "group is read from a file, and sentences were given; .* and give valid"),
    ({"scheme": "IOB2"}, {"y": [["Q-PER", "O"], ["O", "O"], ["O", "O"]]}, DataError, "column tag, sentence 0: 'Q-PER'"),
    ({}, {"X": WORDS[:1], "y": TAGS[:1]}, DataError, "X has one sentence, so none can be held out; .* with valid"),
    ({}, {"y": [["O", "O"]] * 3}, DataError, "every word has the tag 'O'"),
    ({}, {"valid": (WORDS, {"pos": TAGS})}, DataError, "valid has the columns pos, and X has tag"),
    ({}, {"valid": "nowhere.conll"}, DataError, "nowhere.conll"),
]


@pytest.mark.parametrize(("options", "given", "kind", "message"), OF_FIT)
def test_messages_speak_of_arguments_and_of_no_file_that_nobody_named(options, given, kind, message, tmp_path):
    with pytest.raises(kind, match=message) as caught:
        Tagger(**{**OPTIONS, "epochs": 1, **options}).fit(**{"X": WORDS, "y": TAGS, **given})
    # Commands stay as they are typed.
    told = re.sub("`.*?`", "", str(caught.value))
    assert not re.search(r"--[a-z]|/tmp|\.tsv", told)


def test_a_place_that_is_taken_is_told_in_python_too(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(RunError, match=r"^out .*run exists; go on with `gateflow resume .*`, or .* with force=True"):
        Tagger(out=tmp_path / "run", **OPTIONS).fit(WORDS, TAGS)


def test_a_column_that_there_is_not_is_told_with_those_there_are(fitted):
    with pytest.raises(ConfigError, match="this tagger has no column 'ner'; it has tag"):
        fitted[0].score(WORDS, {"ner": TAGS})


def test_several_sequences_take_a_crf():
    tagger = Tagger(**{**OPTIONS, "epochs": 1, "crf": False}).fit(WORDS, TAGS)
    with pytest.raises(ConfigError, match="^n_best asks for whole sequences, .*; train it with crf=True"):
        tagger.answers(WORDS, n_best=2)


def test_sentences_without_words_are_left_out():
    tagger = Tagger(**{**OPTIONS, "epochs": 1}).fit([[], *WORDS], [[], *TAGS])
    assert len(own_sentences(tagger.run_, tagger.vocabulary_, "train")) == 2
    with pytest.raises(DataError, match="fit was given no sentences"):
        Tagger().fit([[], []], [[], []])


def test_a_saved_run_names_no_hidden_file(fitted):
    assert (fitted[0].run_.config().data.train, fitted[0].run_.config().data.valid) == (Path("X"), Path("valid"))


def test_what_has_learnt_nothing_says_so():
    with pytest.raises(ConfigError, match="has learnt nothing yet"):
        Tagger().predict([["a"]])

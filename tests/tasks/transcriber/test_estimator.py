"""The estimator learns what the command learns, from arrays, files and strokes."""

import numpy as np
import pytest
from tests.tasks.transcriber.conftest import QUICK, SMALL
from tests.tasks.transcriber.lines import picture, texts, tones

from gateflow import Transcriber
from gateflow.data.strokes.cursive import cursive
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.tasks.transcriber.data import own_lines

OPTIONS = {**SMALL, **QUICK}


def arrays(lines, seed=0):
    return [np.asarray(picture(text, seed + i)) for i, text in enumerate(lines)]


def test_pictures_are_learnt_saved_and_loaded(tmp_path):
    y, others = texts(48), texts(10, 3)
    model = Transcriber(**OPTIONS, height=24).fit(arrays(y), y, valid=(arrays(others, 99), others))
    X = arrays(others, 500)
    assert model.score(X, others) > 0.8
    model.save(tmp_path / "kept")
    again = Transcriber.load(tmp_path / "kept")
    assert again.predict(X) == model.predict(X)
    assert again.get_params()["height"] == 24
    (first, *_) = again.answers(X, beam=4, nbest=2)
    assert len(first.others) == 1
    files = []
    for i, text in enumerate(others[:3]):
        picture(text, 500 + i).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    assert again.predict(files) == model.predict(X)[:3]


def test_sounds_and_strokes_are_taken_as_arrays():
    y = texts(6)
    quick = {**OPTIONS, "epochs": 1}
    sounds = [tones(text, i) for i, text in enumerate(y)]
    heard = Transcriber(**quick, rate=8000, bands=20).fit(sounds, y, groups=[0, 0, 1, 1, 2, 2])
    assert len(heard.predict(sounds)) == 6
    random = np.random.default_rng(0)
    written = [cursive(text, random) for text in y]
    read = Transcriber(**quick, input="strokes").fit([np.array(x) for x in written], y)
    assert len(read.predict(written)) == 6


def test_what_does_not_fit_is_told_in_words_of_python():
    y = texts(4)
    with pytest.raises(ConfigError, match="no option heights"):
        Transcriber(heights=3)
    with pytest.raises(ConfigError, match="say rate=16000"):
        Transcriber(**OPTIONS).fit([tones(text) for text in y], y)
    with pytest.raises(DataError, match="4 lines were given and 3 texts"):
        Transcriber(**OPTIONS).fit(arrays(y), y[:3])
    with pytest.raises(DataError, match="without texts"):
        Transcriber(**OPTIONS).fit(arrays(y))
    with pytest.raises(DataError, match="line 1 has the text ''"):
        Transcriber(**OPTIONS).fit(arrays(y), [y[0], "", *y[2:]])
    with pytest.raises(DataError, match="X begins with 3"):
        Transcriber(**OPTIONS).fit([3], ["a"])
    with pytest.raises(ConfigError, match="learnt nothing yet"):
        Transcriber().predict(arrays(y))


def test_texts_that_are_none_are_refused():
    y = texts(4)
    with pytest.raises(DataError, match="y is the text 'abcd'"):
        Transcriber(**OPTIONS).fit(arrays(y), "abcd")
    with pytest.raises(DataError, match="line 2 has the text .* half of a character"):
        Transcriber(**OPTIONS).fit(arrays(y), [*y[:2], "a\ud800", y[3]])
    with pytest.raises(DataError, match="validation part cannot be judged.*lacks 'y', 'z'"):
        Transcriber(**OPTIONS, height=24).fit(arrays(y), y, valid=(arrays(["ab"]), ["zy"]))


def test_bad_files_are_left_out_with_their_texts_and_never_from_answers(tmp_path):
    y, files = texts(6), [tmp_path / f"{i}.png" for i in range(6)]
    for i, text in enumerate(y):
        picture(text, i).save(files[i])
    files[2].write_bytes(b"none")
    quick = {**OPTIONS, "epochs": 1, "height": 24}
    with pytest.warns(DataWarning, match=r"1 of 6 files cannot be read and are left out.*2\.png"):
        model = Transcriber(**quick, skip_bad=True).fit(files, y, valid=(arrays(y[:3], 50), y[:3]))
    lines = own_lines(model.run_, "train")
    assert [(line.name, line.label) for line in lines] == [(str(files[i]), y[i]) for i in (0, 1, 3, 4, 5)]
    for X in (files, tmp_path):
        with pytest.raises(DataError, match=r"2\.png cannot be read") as told:
            model.predict(X)
        assert "skip" not in str(told.value)

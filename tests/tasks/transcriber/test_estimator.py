"""The estimator learns what the command learns, from arrays, files and strokes."""

import numpy as np
import pytest
from tests.tasks.transcriber.conftest import QUICK, SMALL
from tests.tasks.transcriber.lines import picture, texts, tones

from gateflow import Transcriber
from gateflow.data.strokes.cursive import cursive
from gateflow.errors import ConfigError, DataError

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

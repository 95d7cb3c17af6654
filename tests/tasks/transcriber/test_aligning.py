"""Where the characters of a known text are: as the sound was made, in JSON and as Praat reads it."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.tasks.transcriber.conftest import config_of
from tests.tasks.transcriber.lines import picture, tones, write_images, write_sounds

from gateflow.data.textgrid import textgrid
from gateflow.errors import ConfigError, DataError, DataWarning
from gateflow.tasks.description import Given
from gateflow.tasks.transcriber.aligning import align_lines, aligned
from gateflow.tasks.transcriber.data import begin, own_lines, set_up
from gateflow.tasks.transcriber.given import lines_of
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import load, load_alphabet, load_encoder


def intervals(text, tier):
    """Of a TextGrid, by a reader of our own: (begin, end, text) of a tier."""
    part = re.split(r"    item \[\d+\]:", text)[tier]
    numbers = re.findall(r"            xmin = (\S+)\s+xmax = (\S+)\s+text = \"((?:[^\"]|\"\")*)\"", part)
    return [(float(a), float(b), word.replace('""', '"')) for a, b, word in numbers]


def test_characters_lie_where_their_tones_are(listener, tmp_path):
    files = write_sounds(tmp_path / "new", ["cab", "a b", "acb"])
    answers = list(
        align_lines(Given(listener), data=files, out=tmp_path / "out", force=False, skip_bad=False, batch_size=2).items
    )
    assert [data["text"] for _, data in answers] == ["cab", "a b", "acb"]
    for _, data in answers:
        # A tone of 0.1 s begins 0.05 s behind the end of the one before.
        for k, character in enumerate(data["characters"]):
            if character["text"] != " ":
                assert 0.05 + 0.15 * k - 0.04 <= character["begin"] <= 0.15 + 0.15 * k + 0.06
        assert all(a["end"] <= b["begin"] + 1e-9 for a, b in pairwise(data["characters"]))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        f"{i}.{ending}" for i in range(3) for ending in ("TextGrid", "json")
    ]
    document = json.loads((tmp_path / "out" / "1.json").read_text())
    assert document == answers[1][1]
    assert [word["text"] for word in document["words"]] == ["a", "b"]
    grid = (tmp_path / "out" / "1.TextGrid").read_text()
    characters = intervals(grid, 1)
    assert [text for *_, text in characters if text] == ["a", " ", "b"]
    # Without gaps, from the beginning to the end.
    assert characters[0][0] == 0
    assert all(a[1] == b[0] for a, b in pairwise(characters))
    assert characters[-1][1] == pytest.approx(document["end"], abs=1e-3)


def test_places_are_seconds_of_the_recording_whatever_the_hop_is(sounds, tmp_path):
    # 0.0101 seconds are 80.8 samples, which no frame can be apart.
    config = config_of(train=sounds[0], valid=sounds[1], hop=0.0101, bands=8)
    run = set_up(tmp_path / "run", config)
    (line,) = lines_of([np.zeros(8000 * 60, dtype=np.float32)], run.config())
    for times in (line.times, own_lines(run, "valid")[0].times):
        assert np.allclose(times, np.arange(len(times)) * 81 / 8000, rtol=0, atol=1e-9)
    # One frame, though no other says how long it is.
    (tiny,) = lines_of([np.zeros(80, dtype=np.float32)], run.config())
    learnt = Learnt(begin(run, run.config()), load_encoder(run), load_alphabet(run))
    (found,) = aligned(learnt, [replace(tiny, label="a")])
    assert (found.end, found.characters[0].begin, found.characters[0].end) == (81 / 8000, 0, 81 / 8000)


def test_a_batch_changes_nothing(reader):
    learnt, lines = load(reader), own_lines(reader, "valid")
    together, alone = (list(aligned(learnt, lines, batch_size=size)) for size in (64, 1))
    for a, b in zip(together, alone, strict=True):
        assert [(x.text, x.begin, x.end) for x in a.characters] == [(x.text, x.begin, x.end) for x in b.characters]
        assert "".join(x.text for x in a.characters) == a.line.label
        assert a.score == pytest.approx(b.score, abs=1e-3)


def test_names_do_not_collide_and_lead_nowhere_else(reader, tmp_path):
    lines = [("a", "x/line.png"), ("b", "y/line.png"), ("ab", "y/..hidden name.png")]
    for text, name in lines:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        picture(text).save(file)
    listing = tmp_path / "list.tsv"
    listing.write_text("".join(f"{name}\t{text}\n" for text, name in lines))
    list(
        align_lines(Given(reader), data=listing, out=tmp_path / "out", force=False, skip_bad=False, batch_size=8).items
    )
    found = sorted(file.name for file in (tmp_path / "out").iterdir() if file.suffix == ".json")
    assert found == ["hidden-name.json", "line-2.json", "line.json"]


def test_texts_that_do_not_fit_are_named(reader, tmp_path):
    picture("ab").save(tmp_path / "a.png")
    picture("b").save(tmp_path / "b.png")
    (tmp_path / "a.gt.txt").write_text("ab" * 40)
    (tmp_path / "b.gt.txt").write_text("bX")
    options = {"data": tmp_path, "out": tmp_path / "out", "batch_size": 8}
    with pytest.warns(DataWarning, match="'X'"), pytest.raises(DataError, match=r"a\.png': its text needs 80 steps"):
        align_lines(Given(reader), force=False, skip_bad=False, **options)
    with pytest.warns(DataWarning) as told:
        found = list(align_lines(Given(reader), force=False, skip_bad=True, **options).items)
    assert any("1 of 2 lines have too few steps" in str(x.message) for x in told)
    assert [x["text"] for x in found[0][1]["characters"]] == ["b"]
    with pytest.raises(ConfigError, match="lies in the run"):
        align_lines(Given(reader), force=False, skip_bad=True, **{**options, "out": reader.path / "times"})


def test_praat_gets_quotes_doubled_and_no_empty_intervals():
    grid = textgrid({"a": [(0.0, 0.5, 'say "x"'), (0.4, 0.6, "y"), (0.6, 0.6, "z")], "b": []}, 1.0)
    assert intervals(grid, 1) == [(0, 0.5, 'say "x"'), (0.5, 0.6, "y"), (0.6, 1, "")]
    assert intervals(grid, 2) == [(0, 1, "")]
    assert "size = 2" in grid
    assert len(tones("a")) > 0


def test_what_is_there_is_replaced_only_when_asked(reader, tmp_path):
    files, out = write_images(tmp_path / "new", ["ab", "ba"]), tmp_path / "out"
    out.mkdir()
    (out / "1.json").write_text("mine")
    asked = {"data": files, "skip_bad": False, "batch_size": 2}
    with pytest.raises(ConfigError, match=r"1\.json exists\. .*--force"):
        align_lines(Given(reader), out=out, force=False, **asked)
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("1.json", "mine")]
    assert len(list(align_lines(Given(reader), out=out, force=True, **asked).items)) == 2
    assert json.loads((out / "1.json").read_text())["text"] == "ba"

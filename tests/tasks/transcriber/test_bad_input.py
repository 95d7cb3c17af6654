"""What cannot be learnt is named before training begins; what comes from a file is not believed."""

import json
import logging
import sys

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from tests.tasks.transcriber.conftest import config_of, train
from tests.tasks.transcriber.lines import picture, texts, write_images, write_sounds, write_strokes

from gateflow.errors import ConfigError, DataError, DataWarning, RunError
from gateflow.tasks.transcriber.data import own_lines, set_up
from gateflow.tasks.transcriber.evaluation import evaluate
from gateflow.tasks.transcriber.inputs.look import kind_of
from gateflow.tasks.transcriber.loading import input_of, load, load_alphabet
from gateflow.tasks.transcriber.measures import character_errors
from gateflow.tasks.transcriber.task import TranscriberTask


def test_a_text_longer_than_its_picture_is_named_before_training(tmp_path):
    files = write_images(tmp_path / "a", texts(12))
    lines = files.read_text().splitlines()
    lines[3] = "3.png\t" + "ab" * 30
    # Eight equal letters need a blank between each two.
    picture("ab").save(tmp_path / "a" / "4.png")
    lines[4] = "4.png\t" + "a" * 8
    files.write_text("\n".join(lines))
    with pytest.raises(DataError) as told:
        set_up(tmp_path / "run", config_of(train=files, valid=files, height=24))
    text = "image '3.png': its text 'abababababababababababababababababababababababababababababab' needs 60 steps"
    assert str(told.value).startswith(text)
    assert "In all 2 of 12 lines are too short" in str(told.value)
    assert "--reduce 2 leaves more steps" in str(told.value)
    assert not (tmp_path / "run").exists()
    with pytest.warns(DataWarning) as warned:
        run = set_up(tmp_path / "run", config_of(train=files, valid=files, height=24, skip_bad=True))
    assert any("2 of 12 lines have too few steps" in str(x.message) for x in warned)
    assert len(own_lines(run, "train")) == 10


def test_lines_without_a_text_are_named(tmp_path):
    files = write_images(tmp_path / "a", texts(6))
    lines = files.read_text().splitlines()
    files.write_text("\n".join([*lines[:4], "4.png\t", "5.png"]))
    with pytest.raises(DataError, match=r"image '4\.png' has no text, like 1 others"):
        set_up(tmp_path / "run", config_of(train=files, height=24))
    with pytest.warns(DataWarning, match=r"2 of 6 images have no text and are left out: 4\.png, 5\.png\."):
        run = set_up(tmp_path / "run", config_of(train=files, height=24, skip_bad=True))
    assert sum(len(own_lines(run, part)) for part in ("train", "valid")) == 4


def test_texts_are_nfc_and_rare_and_new_characters_are_told(tmp_path, caplog):
    files = write_images(tmp_path / "a", ["ab"] * 5 + ["a cafe\u0301", "ba"])
    other = write_images(tmp_path / "b", ["ab", "cab"], seed=99)
    with caplog.at_level(logging.INFO, "gateflow"):
        run = set_up(tmp_path / "run", config_of(train=files, valid=other, height=24))
    assert "é" in load_alphabet(run).characters
    assert "\u0301" not in load_alphabet(run).characters
    assert "occur less than 5 times and will hardly be learnt: ' ' 1, 'c' 1, 'f' 1, 'é' 1" in caplog.text
    (tmp_path / "b" / "list.tsv").write_text("0.png\tab\n1.png\txaz\n")
    with pytest.warns(DataWarning, match="2 characters of the validation part cannot be learnt.*: 'x', 'z'"):
        set_up(tmp_path / "new", config_of(train=files, valid=other, height=24))


def test_groups_stay_in_one_part(tmp_path):
    files = write_images(tmp_path / "a", [f"{text}{'ab'[i % 2]}" for i, text in enumerate(texts(20))])
    lines = files.read_text().splitlines()
    files.write_text("\n".join(f"{line}\twriter {i % 5}" for i, line in enumerate(lines)))
    run = set_up(tmp_path / "run", config_of(train=files, height=24, held_out=0.3))
    of = {f"{i}.png": i % 5 for i in range(20)}
    train_, valid = ({of[line.name] for line in own_lines(run, part)} for part in ("train", "valid"))
    assert train_
    assert valid
    assert not train_ & valid


def test_kinds_are_seen(tmp_path):
    pictures, recordings = write_images(tmp_path / "a", texts(3)), write_sounds(tmp_path / "b", texts(3))
    strokes = write_strokes(tmp_path / "c.jsonl", ["a", "b"])
    assert [kind_of(x) for x in (pictures, recordings, strokes)] == ["image", "sound", "strokes"]
    assert [kind_of(x.parent) for x in (pictures, recordings)] == ["image", "sound"]
    (tmp_path / "d.txt").write_text("a text\n")
    (tmp_path / "empty").mkdir()
    for wrong in ("d.txt", "empty"):
        with pytest.raises(DataError, match="looks like no pictures, sounds or strokes"):
            kind_of(tmp_path / wrong)
    with pytest.raises(DataError, match="does not exist"):
        kind_of(tmp_path / "none")


@pytest.mark.parametrize("given", ["a.png", "a.tif", "a.wav", "a.flac"])
@pytest.mark.parametrize("kind", ["image", "sound", "strokes"])
def test_a_file_of_another_kind_is_told_as_what_it_is_not(tmp_path, kind, given):
    file = tmp_path / given
    if given in ("a.png", "a.tif"):
        Image.fromarray(np.full((20, 60), 200, dtype=np.uint8)).save(file)
    else:
        soundfile.write(file, np.sin(np.arange(4000) / 9), 8000)
    if kind == kind_of(file):
        return
    told = {"image": "is no image by its name, and no list", "sound": "is no recording by its name, and no list"}
    config = config_of(train=file, input=kind, rate=8000)
    with pytest.raises(DataError, match=told.get(kind, "holds no strokes, .* no text")):
        list(input_of(config).read(file, config))


def test_a_validation_that_writes_nothing_is_told(tmp_path, caplog):
    files = write_images(tmp_path / "a", texts(8))
    run = set_up(tmp_path / "run", config_of(train=files, height=24))
    task = TranscriberTask(run, run.config())
    with caplog.at_level("INFO", logger="gateflow"):
        for blank, told in ((100.0, 1), (-100.0, 0)):
            caplog.clear()
            torch.nn.init.constant_(task.model.head.bias[:1].detach(), blank)
            sums, count = task.validate(task.model.eval())
            task.figures({name: value / count for name, value in sums.items()})
            assert caplog.text.count("wrote no character in any line, only blanks") == told


def test_bad_files_are_named_or_left_out(tmp_path):
    files = write_images(tmp_path / "a", texts(8))
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    (tmp_path / "a" / "5.png").unlink()
    with pytest.raises(DataError, match=r"2\.png cannot be read as a picture.*--skip-bad"):
        set_up(tmp_path / "run", config_of(train=files, height=24))
    with pytest.warns(DataWarning, match=r"2 of 8 files cannot be read and are left out.*5\.png does not exist"):
        set_up(tmp_path / "run", config_of(train=files, height=24, skip_bad=True))


def test_a_line_that_is_too_long_is_refused(tmp_path):
    files = write_images(tmp_path / "a", texts(4))
    with pytest.raises(DataError, match=r"has \d+ steps, and 20 at most are read. Cut it, or train with a larger"):
        set_up(tmp_path / "run", config_of(train=files, height=24, longest=20))


def test_files_of_a_run_are_not_believed(reader, tmp_path):
    import shutil

    shutil.copytree(reader.path, tmp_path / "run")
    run = type(reader).open(tmp_path / "run")
    alphabet = json.loads(run.alphabet_file.read_text())
    (run.path / "SHA256SUMS").unlink()
    wrong = {
        "a character is not NFC": ["a", "\u212b"],
        "it names no characters, or one twice": ["a", "a"],
        "holds no alphabet": [],
    }
    for told, characters in wrong.items():
        run.alphabet_file.write_text(json.dumps({**alphabet, "characters": characters}))
        with pytest.raises(RunError, match=told):
            load(run)
    run.alphabet_file.write_text(json.dumps({"characters": ["a"]}))
    with pytest.raises(RunError, match=r"model\.safetensors does not fit"):
        load(run)
    run.part_file("train").write_bytes(b"none")
    with pytest.raises(RunError, match="holds no series"):
        own_lines(run, "train")


def test_without_jiwer_the_command_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\[transcription\]'"):
        character_errors(["a"], ["b"])


def test_strokes_have_places_by_points(tmp_path):
    files = write_strokes(tmp_path / "a.jsonl", texts(8))
    run = train(tmp_path / "run", train=files, augment=True, dropout=0.2, epochs=1, spacing=0.7)
    lines = own_lines(run, "valid")
    assert lines[0].values.shape[1] == 4
    found = evaluate(load(run), lines)
    points = json.loads(files.read_text().splitlines()[int(lines[0].name.split()[1]) - 1])["points"]
    assert lines[0].times[-1] == len(points) - 1
    assert all(x.end <= len(points) for x in found.answers[0].characters)

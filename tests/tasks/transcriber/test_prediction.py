"""The same answer in any batch and order; places in the units of the file; searches, and what they refuse."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.tasks.transcriber.lines import picture, write_images

from gateflow.data.images.lines import read_line_images
from gateflow.data.listing import ListedFile
from gateflow.data.transcripts import plain
from gateflow.errors import ConfigError, DataError
from gateflow.tasks.description import Given
from gateflow.tasks.transcriber.batches import Encoded
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.evaluation import evaluate, evaluate_run
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.prediction import Character, Decoding, _plain, log_probabilities, predict
from gateflow.tasks.transcriber.transcribing import transcribe_lines

ASKED = {"beam": None, "lm": None, "lm_weight": 0.5, "insertion": 0.0, "skip_bad": False, "batch_size": 4}


@pytest.mark.parametrize("kind", ["reader", "listener"])
def test_what_is_easy_is_learnt(kind, request):
    run = request.getfixturevalue(kind)
    learnt, lines = load(run), own_lines(run, "valid")
    found = evaluate(learnt, lines)
    assert found.cer < 0.1, ([x.text for x in found.answers], found.right)
    searched = evaluate(learnt, lines, decoding=Decoding(beam=8, nbest=3))
    assert searched.cer <= found.cer + 0.02
    assert len(searched.answers[0].others) == 2
    for answer in found.answers:
        places = [(x.begin, x.end) for x in answer.characters]
        assert all(0 <= a < b for a, b in places)
        assert places == sorted(places)
        assert all(0 < x.confidence <= 1 for x in answer.characters)


@pytest.mark.parametrize("kind", ["reader", "listener"])
def test_batches_order_and_padding_change_nothing(kind, request):
    run = request.getfixturevalue(kind)
    learnt, lines = load(run), own_lines(run, "valid")
    for decoding in (Decoding(), Decoding(beam=4)):
        alone = [answer.text for answer in predict(learnt, lines, batch_size=1, decoding=decoding)]
        assert alone == [answer.text for answer in predict(learnt, lines, batch_size=5, decoding=decoding)]
        back = [answer.text for answer in predict(learnt, lines[::-1], batch_size=64, decoding=decoding, chunk=7)]
        assert alone == back[::-1]
    encoded = Encoded(learnt.encoder, lines)
    batch = encoded.batch(range(len(lines)))
    together, lengths = log_probabilities(learnt, batch)
    for i, length in enumerate(batch.lengths.tolist()):
        batch.steps[length:, i] = torch.nan
    again, _ = log_probabilities(learnt, batch)
    for i, length in enumerate(lengths.tolist()):
        single, _ = log_probabilities(learnt, encoded.batch([i]))
        assert torch.allclose(together[:length, i], single[:, 0], atol=1e-5)
        assert torch.equal(together[:length, i], again[:length, i])


def test_places_are_columns_of_the_file(reader, tmp_path):
    """A picture of twice the size: the same text, and every place twice as far."""
    small, large = picture("cab", 5), picture("cab", 5)
    large = large.resize((2 * large.width, 2 * large.height))
    small.save(tmp_path / "small.png")
    large.save(tmp_path / "large.png")
    learnt, config = load(reader), reader.config()
    files = [ListedFile(tmp_path / f"{name}.png", name) for name in ("small", "large")]
    from gateflow.data.images.lines import LineImage

    one, two = predict(learnt, read_line_images(files, "here", LineImage(config.images.height)))
    assert one.text == two.text == "cab"
    # Letters are 12 columns wide, and the first begins behind 6.
    for k, (a, b) in enumerate(zip(one.characters, two.characters, strict=True)):
        assert 6 + 12 * k - 4 <= (a.begin + a.end) / 2 <= 6 + 12 * (k + 1) + 4
        assert b.begin == pytest.approx(2 * a.begin, abs=8)


def test_the_verbs_answer(reader, images, tmp_path):
    answers = list(transcribe_lines(Given(reader), data=images[1], nbest=1, stream=False, **ASKED).items)
    texts = dict(line.split("\t") for line in images[1].read_text().splitlines())
    right = sum(text == f"{data['image']}\t{texts[data['image']]}" for text, data in answers)
    assert right >= 10
    assert answers[0][1]["unit"] == "columns"
    several = {**ASKED, "beam": 4}
    shown, data = next(transcribe_lines(Given(reader), data=images[1], nbest=2, stream=False, **several).items)
    assert len(shown.splitlines()) == 2
    assert len(data["others"]) == 1
    found = evaluate_run(Given(reader), data=images[1], predictions=tmp_path / "out.tsv", **ASKED)
    assert found.json["cer"] < 0.1
    written = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert written[0] == ["edits", "text", "given", "image"]
    assert sum(int(row[0]) for row in written[1:]) == sum(
        found.json["characters"][kind] for kind in ("substitutions", "deletions", "insertions")
    )
    own = evaluate_run(Given(reader), data=None, predictions=None, **ASKED)
    assert own.json["cer"] == found.json["cer"]


def test_unknown_characters_are_counted_and_named(reader, tmp_path):
    picture("ab").save(tmp_path / "a.png")
    (tmp_path / "a.gt.txt").write_text("aXbé\n")
    found = evaluate_run(Given(reader), data=tmp_path, predictions=None, **ASKED)
    assert found.json["unknown_characters"] == {"X": 1, "é": 1}
    assert any("2 characters cannot be written" in line and "'X' 1" in line for line in found.lines)
    assert found.json["characters"]["count"] == 4
    # Told of a folder that has none, too.
    (tmp_path / "a.gt.txt").unlink()
    with pytest.raises(DataError, match=r"image '.*a\.png' has no text"):
        evaluate_run(Given(reader), data=tmp_path, predictions=None, **ASKED)


def test_what_only_a_search_has_is_refused_without_one():
    for options in ({"nbest": 2}, {"insertion": 1.0}):
        with pytest.raises(ConfigError, match="--beam 0 makes none"):
            Decoding(beam=0, **options)


def test_the_config_says_what_is_idle(tmp_path):
    config = TranscriberConfig.build({"data": {"train": "a", "input": "image"}, "model": {"front": "none"}})
    idle = config.idle()
    assert {"reduce", "front_size", "bands", "spacing"} <= idle.keys()
    assert "height" not in idle
    assert (config.reduction, config.front_size) == (1, 48)
    assert np.isfinite(config.training.lr)


def test_predictions_replace_nothing_that_was_read(reader, tmp_path):
    folder = tmp_path / "new"
    files = write_images(folder / "pages", ["ab", "ba"])
    (folder / "pages" / "0.gt.txt").write_text("ab\n")
    (folder / "pages" / "1.gt.txt").write_text("ba\n")
    # Through another name of the folder, too.
    (folder / "link").symlink_to("pages")
    for data in (files, folder / "pages"):
        for name in ("pages/0.png", "link/1.png"):
            before = (folder / name).read_bytes()
            with pytest.raises(ConfigError, match=r"--predictions .*png is a file of --data, and would replace it"):
                evaluate_run(Given(reader), data=data, predictions=folder / name, **ASKED)
            assert (folder / name).read_bytes() == before
    with pytest.raises(ConfigError, match=r"is a file of --data"):
        evaluate_run(Given(reader), data=folder / "pages", predictions=folder / "pages" / "0.gt.txt", **ASKED)
    # What the run was trained on, whose lines are evaluated without --data.
    own = reader.config().data.valid.parent / "0.png"
    with pytest.raises(ConfigError, match=r"is a file of the run's valid"):
        evaluate_run(Given(reader), data=None, predictions=own, **ASKED)
    evaluate_run(Given(reader), data=files, predictions=folder / "pages" / "out.tsv", **ASKED)


def test_answers_are_plain_and_every_character_stays_in_its_place():
    random = np.random.default_rng(0)
    # Letters, spaces, marks below and above, the parts of Korean syllables.
    drawn = ["a", "e", " ", " ", "\u00e9", "\u0301", "\u0323", "\u0302", "x", "\u1112", "\u1161", "\u11ab", "\ud55c"]
    for _ in range(2000):
        written = [Character(random.choice(drawn), i, i + 0.5, 0.5 + i / 100) for i in range(random.integers(0, 9))]
        found = _plain(written)
        text = plain("".join(x.text for x in written))
        assert "".join(x.text for x in found) == text
        assert all(a.end < b.begin for a, b in pairwise(found))
        for character in found:
            inside = [x for x in written if character.begin <= x.begin and x.end <= character.end]
            assert plain("".join(x.text for x in inside)) in (character.text, "")
    composed = _plain([Character("e", 0, 1, 0.9), Character("\u0301", 3, 4, 0.7), Character(" ", 5, 6, 0.5)])
    assert composed == (Character("\u00e9", 0, 4, 0.7),)

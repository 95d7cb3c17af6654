"""Files that cannot be learnt from, and runs that were damaged: a line or two, and nothing half written."""

import gzip
import json
import shutil
from dataclasses import replace

import pytest
from tests.tasks.tagger.sentences import sentences, write

from gateflow.errors import ConfigError, DataError, DataWarning, GateflowError, RunError
from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.data import set_up
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.run import TaggerRun

GOOD = "Teddy B-PER\nRoosevelt I-PER\ncame O\n\nbears O\ncame O\n\nRosa B-PER\ncame O\n"
BAD = {
    "too few columns": (GOOD + "\nalone\n", r"train, line 11: "),
    "too many columns": (GOOD + "\na b c\n", r"train, line 11: "),
    "nothing": ("", "is empty"),
    "white space": (" \n\n\t\n", "nothing but white space"),
    "one class": ("a O\nb O\n\nc O\n", "every word has the tag 'O'"),
    "one sentence": ("Teddy B-PER\ncame O\n", "one sentence, so none can be held out"),
    "binary": (b"a O\n\x00\x01\n", "is not text: there is a NUL byte"),
    "no UTF-8": (b"a O\n\n\xff\xfe O\n", "is not UTF-8"),
    "cut gzip": (gzip.compress(GOOD.encode() * 99)[:60], "cut short"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_learnt_from(tmp_path, name):
    content, message = BAD[name]
    file = tmp_path / "train"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=message) as caught:
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file}}))
    assert "\n" not in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["train"]


@pytest.mark.parametrize("marks", ["\ufeff", ""], ids=["mark", "plain"])
@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["crlf", "lf"])
def test_marks_and_line_ends_of_other_systems_are_no_part_of_words(tmp_path, marks, end):
    file = tmp_path / "train"
    file.write_bytes((marks + GOOD.replace("\n", end)).encode())
    run = set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file}}))
    assert load_vocabulary(run).words[0] in ("came", "teddy")
    assert "\r" not in run.sentences_file("train").read_text(encoding="utf-8")


def test_a_column_that_is_not_there_and_a_tag_of_no_scheme(tmp_path):
    file = tmp_path / "train"
    file.write_text(GOOD)
    with pytest.raises(DataError, match="column"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "columns": "ner"}}))
    file.write_text(GOOD.replace("I-PER", "Q-PER"))
    with pytest.raises(DataError, match="the training part, column tag, the sentence from line 1 on: 'Q-PER'"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "scheme": "IOB2"}}))


def test_a_label_of_the_validation_alone_is_told(tmp_path):
    file, other = tmp_path / "train", tmp_path / "valid"
    file.write_text("a X\nb Y\n\na X\n")
    other.write_text("a Z\n")
    with pytest.warns(DataWarning, match="1 tags are in the validation part alone and cannot be learnt, such as 'Z'"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "valid": other}}))


def test_vectors_of_another_size(tmp_path):
    file, vectors = write(tmp_path / "train", sentences(20)), tmp_path / "words.vec"
    vectors.write_text("teddy 1 2 3\n")
    with pytest.raises(DataError, match="vectors of 3 components, and --embedding-size is 100"):
        set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file, "embeddings": vectors}}))
    assert not (tmp_path / "run").exists()


def test_a_file_that_changes_after_the_set_up_changes_nothing(tmp_path):
    file = write(tmp_path / "train", sentences(20))
    run = set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file}}))
    before = run.sentences_file("train").read_bytes()
    file.unlink()
    assert TaggerRun.open(run.path).sentences_file("train").read_bytes() == before


DAMAGE = {
    "no JSON": "{",
    "other things": '{"words": []}',
    "a tag twice": '{"words": [], "characters": [], "columns": [{"name": "a", "scheme": null, "labels": ["X", "X"]}]}',
    "no columns": '{"words": [], "characters": [], "columns": []}',
    "wrong types": '{"words": [1], "characters": [], "columns": [{"name": "a", "scheme": null, "labels": ["X"]}]}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_vocabulary_that_is_none(tmp_path, name):
    file = write(tmp_path / "train", sentences(20))
    run = set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": file}}))
    run.vocabulary_file.write_text(DAMAGE[name])
    with pytest.raises(RunError, match="damaged"):  # by its checksum
        load_vocabulary(run)
    (run.path / "SHA256SUMS").unlink()
    with pytest.raises(RunError, match="no vocabulary of a tagger"):
        load_vocabulary(run)


def second(part, value=None):
    """Makes the second of a list what it is told, or what the first one is."""

    def edit(found):
        entries = part(found)
        entries[1] = entries[0] if value is None else value

    return edit


def labels(found):
    return found["columns"][0]["labels"]


EDITS = {
    "tags in another order": (lambda found: labels(found).reverse(), "the tags of column 'tag' are not those of BIOES"),
    "a tag of no scheme": (second(labels, "Q-PER"), "the tags of column 'tag' are not those of BIOES"),
    "another scheme": (lambda found: found["columns"][0].update(scheme="IOB2"), "are not those of IOB2 in their order"),
    "a word twice": (second(lambda found: found["words"]), "a word stands in it twice"),
    "a character twice": (second(lambda found: found["characters"]), "a character stands in it twice"),
    "a column twice": (lambda found: found["columns"].append(found["columns"][0]), "a column stands in it twice"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_vocabulary_that_was_edited_and_sealed_again_is_refused(tmp_path, trained, name):
    """Numbers are places in it: in another order it would fit the weights, and each answer would be wrong."""
    edit, message = EDITS[name]
    run = TaggerRun.open(shutil.copytree(trained.path, tmp_path / "run"))
    edit(found := json.loads(run.vocabulary_file.read_text(encoding="utf-8")))
    run.vocabulary_file.write_text(json.dumps(found), encoding="utf-8")
    run.seal()
    with pytest.raises(RunError, match=f"vocabulary.json is damaged: .*{message}"):
        load_vocabulary(run)


def test_a_vocabulary_of_another_model_is_refused_by_the_weights(tmp_path, trained):
    found = json.loads(trained.vocabulary_file.read_text(encoding="utf-8"))
    with pytest.raises(RunError, match="does not fit"):
        load_model(trained, replace(load_vocabulary(trained), words=tuple(found["words"][:-1])))


@pytest.mark.parametrize("options", [{"character_size": 3}, {"hidden_size": 0}, {"characters": "gru"}, {"dropout": 1}])
def test_options_that_cannot_work(options):
    with pytest.raises(ConfigError, match="--"):
        TaggerConfig.build({"data": {"train": "x"}, "model": options})


def test_a_run_without_a_model_says_what_to_do(tmp_path):
    run = set_up(tmp_path / "run", TaggerConfig.build({"data": {"train": write(tmp_path / "train", sentences(20))}}))
    with pytest.raises(GateflowError, match="gateflow resume"):
        load_model(run, load_vocabulary(run))

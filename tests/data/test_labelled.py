"""Labelled texts out of TSV, CSV, JSON lines and fastText's format, told apart by looking; what is none is refused."""

import csv
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.folds import drawn, folds_of
from gateflow.data.labelled import read_labelled
from gateflow.data.rows import read_rows
from gateflow.errors import DataError


def read(tmp_path, content, **options):
    file = tmp_path / "file"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(text.text, *text.labels) for text in read_labelled(file, **options)]


FILMS = [("terribly exciting", "pos"), ("dull, not good", "neg"), ("I slept", "neg")]
FILES = {
    "tsv, text first": ("".join(f"{text}\t{label}\n" for text, label in FILMS), {}),
    "tsv, label first": ("".join(f"{label}\t{text}\n" for text, label in FILMS), {}),
    "tsv with names": ("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in FILMS), {}),
    "tsv of three": (
        "".join(f"{k}\t{text}\t{label}\n" for k, (text, label) in enumerate(FILMS)),
        {"text": "2", "label": "-1"},
    ),
    "tsv by names": (
        "id\tdocument\tclass\n" + "".join(f"{k}\t{text}\t{label}\n" for k, (text, label) in enumerate(FILMS)),
        {"text": "document", "label": "class"},
    ),
    "csv": ("text,label\n" + "".join(f'"{text}",{label}\r\n' for text, label in FILMS), {}),
    "csv, only the label is called so": ("Label,what\n" + "".join(f'{label},"{text}"\n' for text, label in FILMS), {}),
    "json": ("".join(json.dumps({"text": text, "label": label}) + "\n\n" for text, label in FILMS), {}),
    "json by names": (
        "".join(json.dumps({"a": 1, "b": label, "c": text}) + "\n" for text, label in FILMS),
        {"text": "c", "label": "b"},
    ),
    "fasttext": ("".join(f"__label__{label} {text}\n" for text, label in FILMS), {}),
}


@pytest.mark.parametrize("name", FILES)
def test_formats_are_found_by_looking(tmp_path, name):
    content, options = FILES[name]
    for spelled in (content.encode(), b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()):
        assert read(tmp_path, spelled, **options) == FILMS
        assert read(tmp_path, gzip.compress(spelled), **options) == FILMS


def test_several_labels(tmp_path):
    assert read(tmp_path, "x\ta| b\ny\t\nz\ta\n", text="1", separator="|") == [("x", "a", "b"), ("y",), ("z", "a")]
    assert read(tmp_path, "__label__a __label__b x y\n z\n", separator=",") == [("x y", "a", "b"), ("z",)]
    lines = [{"text": "x", "labels": ["a", 2, "a"]}, {"text": "y", "labels": []}, {"text": "z", "labels": None}]
    found = read(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), separator=",")
    assert found == [("x", "a", 2), ("y",), ("z",)]


def test_a_second_file_is_read_as_the_first_one(tmp_path):
    for content in ("pos\ta\n", "pos\ta\nneg\ta\n", "neg\tpos\npos\tx\npos\ty\n"):
        assert all(row[1] in ("pos", "neg") for row in read(tmp_path, content, known={"pos", "neg"}))
    assert read(tmp_path, "x\ta, b\ny\t\n", separator=",", known={"a", "b"}) == [("x", "a", "b"), ("y",)]


def test_texts_alone(tmp_path):
    assert read(tmp_path, "id\ttext\n1\tx\n2\ty\n", text="text", labelled=False) == [("x",), ("y",)]


BAD = {
    "nothing": ("", {}, "is empty"),
    "names alone": ("text\tlabel\n", {}, "the names of its columns and no rows"),
    "one column": ("a text\nanother\n", {}, "line 1: 'a text' has one column"),
    "too many columns": ("a\tx\nb\ty\tz\n", {}, "line 2: 3 columns, where line 1 has 2 separated by tabs"),
    "too few columns": ("text,label\na,x\n\nb\n", {}, "line 4: 1 column, where line 1 has 2 separated by commas"),
    "no such name": (
        "text\tlabel\na\tx\n",
        {"label": "class"},
        "no column 'class', which --label asks for; it has text",
    ),
    "no such number": (
        "a\tx\n",
        {"label": "3"},
        "no column '3', which --label asks for; it has 2 columns without names",
    ),
    "nobody knows": ("1\ta\tx\n", {}, "3 columns without names, .* say it with --text and --label"),
    "nobody can see": ("a\tx\nb\ty\n", {}, "2 columns without names, .* say it with --text and --label"),
    "one column twice": ("a\tx\n", {"text": "1", "label": "1"}, "as --text and as --label"),
    "no label": ("a\tx\nb\t \n", {"label": "2"}, "line 2: the text has no label in column 2"),
    "several": ("__label__a __label__b x\n", {}, "line 1: the text has 2 labels, a, b. .* --multi-label"),
    "none of fasttext": ("__label__a x\ny\n", {}, "line 2: the text has no __label__ at its beginning"),
    "open quotes": ('text,label\n"a,x\nb,y\n', {}, "line 2: .* a double quote that does not end"),
    "quotes amid": ('text,label\n5" tape,x\n', {}, "line 2: .* or stands amid a cell"),
    "no json": ('{"text": "a", "label": "x"}\n{"text"\n', {}, "line 2: no JSON"),
    "no object": ('{"text": "a", "label": "x"}\n[1]\n', {}, "line 2: .* is no JSON object"),
    "no field": ('{"text": "a", "label": "x"}\n{"text": "b"}\n', {}, "line 2: there is no field 'label'; it has text"),
    "no text": ('{"text": 3, "label": "x"}\n', {}, "line 1: the text is 3, and no text"),
    "half a number": ('{"text": "a", "label": 0.5}\n', {}, "line 1: the label is 0.5; .* say so with --regression"),
    "half a character": ('{"text": "a\\ud800", "label": "x"}\n', {}, r"character 2 of the text is \\ud800, half of a"),
    "deep": ("[" * 10_000 + "\n" + "{" * 10_000, {}, "has one column"),
    "binary": (b"a\tx\n\x00\x01\n", {}, "is not text: there is a NUL byte"),
    "no utf-8": (b"a\tx\nb \xff\ty\n", {}, "line 2, column 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read(tmp_path, name):
    content, options, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, content, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff", exclude_categories=["Cs"]), max_size=9)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6))
def test_csv_is_read_as_pythons_own_writer_writes_it(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("csv") / "file.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["text", "label"], *rows])
    assert [row.cells for row in read_rows(file).rows] == rows


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(2, 7))
def test_parts_have_their_share_of_every_label(labels, folds):
    found = folds_of(labels, folds)
    assert found == folds_of(labels, folds)
    sizes = [found.count(fold) for fold in range(folds)]
    assert max(sizes) - min(sizes) <= 1
    for label in set(labels):
        of_label = [sum(f == fold and x == label for f, x in zip(found, labels, strict=True)) for fold in range(folds)]
        assert max(of_label) - min(of_label) <= 1
    out = drawn(labels, 0.3)
    assert len(out) == len(set(out)) == max(1, round(0.3 * len(labels)))
    for label in set(labels):
        assert abs(sum(labels[i] == label for i in out) - 0.3 * labels.count(label)) <= 1.5


def test_parts_are_drawn_and_not_the_last():
    assert sorted(folds_of(range(20), 2, stratified=False)) == [0] * 10 + [1] * 10
    assert folds_of(range(20), 2, stratified=False) != [0, 1] * 10
    assert drawn(["a"] * 30, 0.2) != list(range(24, 30))

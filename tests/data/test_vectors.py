"""Word vectors in text form: what is kept of them, and what is said about broken files."""

import gzip
import io
import sys
import tracemalloc

import numpy as np
import pytest

from gateflow.data.vectors import read_vectors
from gateflow.errors import DataError

GLOVE = "the 0.1 -0.2 3\nbear 1 2e-1 .5\n곰 -1. +2 3E2\n"


def write(tmp_path, text, name="vectors.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(tmp_path, text, wanted=lambda word: True):
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_vectors(path, wanted)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "3 3\n" + text,
        lambda text: "3 3\n" + text.replace("\n", " \n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.removesuffix("\n"),
        lambda text: text + "\n\n",
        lambda text: gzip.compress(text.encode()),
    ],
    ids=["GloVe", "word2vec", "fastText", "tabs", "CRLF", "mark", "no end", "blank lines", "gzip"],
)
def test_the_same_vectors_however_they_are_written(tmp_path, change):
    found = read_vectors(write(tmp_path, change(GLOVE)), {"곰", "the", "cat"})
    assert found.words == ["the", "곰"]
    assert found.matrix.dtype == np.float32
    assert np.array_equal(found.matrix, np.array([[0.1, -0.2, 3], [-1, 2, 300]], np.float32))
    assert (found.lines, found.unreadable) == (3, 0)


def test_wanted_may_be_asked_of_each_word(tmp_path):
    asked = []
    found = read_vectors(write(tmp_path, GLOVE), lambda word: asked.append(word) or word == "bear")
    assert (found.words, asked) == (["bear"], ["the", "bear", "곰"])


def test_vectors_are_those_that_numpy_reads(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 7)).astype(np.float32) * 10.0 ** rng.integers(-30, 30, (50, 1)).astype(np.float32)
    text = "".join(f"w{k} " + " ".join(map(str, row)) + "\n" for k, row in enumerate(matrix))
    found = read_vectors(write(tmp_path, text), lambda word: True)
    assert np.array_equal(found.matrix, matrix)
    found.matrix[0] = 0


def test_words_with_spaces_and_of_digits(tmp_path):
    text = "the 1 2 3\n. . . 4 5 6\nat name@domain.com 7 8 9\n1990 1 1 1\nNew\u00a0York 2 2 2\n\u3000 3 3 3\n"
    found = read_vectors(write(tmp_path, text), lambda word: True)
    assert found.words == ["the", ". . .", "at name@domain.com", "1990", "New\u00a0York", "\u3000"]
    assert found.matrix[:, 0].tolist() == [1, 4, 7, 1, 2, 3]


def test_the_first_of_two_vectors_counts(tmp_path):
    found = read_vectors(write(tmp_path, "bear 1 2\nbear 3 4\nbear x y\n"), {"bear"})
    assert (found.words, found.matrix.tolist(), found.lines) == (["bear"], [[1, 2]], 3)


def test_a_word_that_is_no_utf_8_is_none_that_is_wanted(tmp_path):
    found = read_vectors(write(tmp_path, b"caf\xe9 1 2\nbear 3 4\n"), lambda word: True)
    assert (found.words, found.lines, found.unreadable) == (["bear"], 2, 1)


def test_numbers_of_words_that_are_not_wanted_are_not_looked_at(tmp_path):
    assert read_vectors(write(tmp_path, "the x nan\nbear 1 2\n"), {"bear"}).matrix.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\nbear 1 2\n", ", line 2: 2 numbers after the word 'bear', where the first line says 3."),
        ("the 1 2\nbear 1 2 3\n", ", line 2: 3 numbers after the word 'bear', where the first line says 2."),
        ("2 3\nbear 1 2\n", ", line 2: 2 numbers after the word 'bear', where the first line says 3."),
        ("the 1 2\n\nbear\n", ", line 3: 0 numbers after the word 'bear', where the first line says 2."),
        ("the 1 2\nbear  2\n", ", line 2: '' in the vector of 'bear' is no finite number"),
        ("the 1 2\nbear 1 two\n", ", line 2: 'two' in the vector of 'bear' is no finite number of float32."),
        ("the 1 2\nbear nan 2\n", ", line 2: 'nan' in the vector of 'bear'"),
        ("the 1 2\nbear 1 -inf\n", ", line 2: '-inf' in the vector of 'bear'"),
        ("the 1 2\nbear 1 1e39\n", ", line 2: '1e39' in the vector of 'bear'"),
        ("the 1 2\nbear 1 1_0\n", ", line 2: '1_0' in the vector of 'bear'"),
        (b"the 1 2\nbear 1 \xff\n", ", line 2: '�' in the vector of 'bear'"),
        (b"3000000 3\nbear \0\1\2", " is not text: there is a NUL byte in line 2. Vectors in binary form"),
        ("the 1 2\n".encode("utf-16"), " is not text: there is a NUL byte in line 1."),
        ("", " is empty"),
        (gzip.compress(b"", mtime=0), " is empty"),
        ("bear\n", ", line 1: expected a word and its vector, or the number of words and the dimension; found 'bear'"),
        ("\nbear 1\n", ", line 1: expected a word and its vector, or the number of words and the dimension; found an"),
        ("5 0\n", ", line 1: vectors of 0 numbers"),
        (gzip.compress(b"the 1 2\n" * 100, mtime=0)[:-9], " ends before its gzip data does"),
        ("the 1 2\n" + "a" * (1 << 21), ", line 2: longer than 1,048,576 bytes"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path, text, message):
    assert refused(tmp_path, text).startswith(message)


def test_nothing_found(tmp_path):
    assert refused(tmp_path, GLOVE, {"cat"}).startswith(" has vectors of 3 words, and none is wanted.")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_vectors(tmp_path / "none.vec", {"a"})


def test_piped_in(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GLOVE.encode()), encoding="utf-8"))
    assert read_vectors("-", {"bear"}).words == ["bear"]


def test_progress_is_shown_over_the_lines(tmp_path):
    seen = []

    def track(items, doing, total):
        seen.append((doing, total))
        for item in items:
            seen.append(item[0])
            yield item

    path = write(tmp_path, "3 3\n" + GLOVE)
    assert read_vectors(path, {"bear"}, track=track).words == ["bear"]
    assert seen == [("reading vectors", 3), 2, 3, 4]
    seen.clear()
    read_vectors(write(tmp_path, GLOVE), {"bear"}, track=track)
    assert seen[1:] == [1, 2, 3]
    assert seen[0][1] in (2, 3, 4)


def test_memory_depends_on_the_wanted_words_alone(tmp_path):
    numbers = " ".join(["0.125"] * 100)
    path = write(tmp_path, "".join(f"w{k} {numbers}\n" for k in range(20_000)))
    wanted = {"w1", "w19999"}
    tracemalloc.start()
    try:
        assert read_vectors(path, wanted).words == ["w1", "w19999"]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()

"""Encoded files: the counts, the bytes on disk, and what is left when writing fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from gateflow.data.tokenizer import build_tokenizer
from gateflow.data.tokens import TokenCounts, encode_file
from gateflow.errors import DataError

TEXT = "고양이가 나비를 쫓는다\n\n  고양이가  잔다  \n"
WIKITEXT = Path("../shared/data/wikitext-2")


@pytest.fixture
def path(tmp_path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_the_file_holds_the_lines_in_order(kind, path, tmp_path):
    tokenizer = build_tokenizer(kind, path)
    counts = encode_file(tokenizer, path, tmp_path / "text.npy")
    expected = [number for line in TEXT.splitlines() for number in tokenizer.encode(line).ids]
    assert np.load(tmp_path / "text.npy").tolist() == expected
    assert counts == TokenCounts(tokens=len(expected), words=8)


def test_words_are_the_tokens_of_the_word_tokenizer(path, tmp_path):
    assert encode_file(build_tokenizer("word", path), path, tmp_path / "text.npy") == TokenCounts(8, 8)


def test_more_lines_than_are_encoded_at_once(tmp_path):
    file = tmp_path / "long.txt"
    file.write_text("".join(f"{n % 7} {n % 5}\n" for n in range(9000)), encoding="utf-8")
    tokenizer = build_tokenizer("word", file)
    assert encode_file(tokenizer, file, tmp_path / "long.npy") == TokenCounts(27000, 27000)
    last = np.load(tmp_path / "long.npy")[-3:].tolist()
    assert last == [tokenizer.token_to_id(token) for token in (str(8999 % 7), str(8999 % 5), "<eos>")]


@pytest.mark.parametrize(("words", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_numbers_take_two_bytes_where_they_fit(words, dtype, tmp_path):
    file = tmp_path / "many.txt"
    file.write_text(" ".join(map(str, range(words - 2))), encoding="utf-8")
    encode_file(build_tokenizer("word", file), file, tmp_path / "many.npy")
    tokens = np.load(tmp_path / "many.npy", mmap_mode="r")
    assert tokens.dtype == dtype
    assert tokens.max() == words - 1


def test_a_full_disk_leaves_nothing_and_keeps_what_was_there(path, tmp_path, monkeypatch):
    tokenizer = build_tokenizer("word", path)
    encode_file(tokenizer, path, tmp_path / "text.npy")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        encode_file(tokenizer, path, tmp_path / "text.npy")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_bad_text_leaves_nothing(path, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"good\n\0")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match="NUL"):
        encode_file(build_tokenizer("word", path), tmp_path / "bad.txt", tmp_path / "bad.npy")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not WIKITEXT.is_dir(), reason="WikiText-2 does not lie in ../shared/data here")
def test_wikitext_2_has_its_published_counts(tmp_path):
    words = build_tokenizer("word", WIKITEXT / "train.txt.gz")
    assert words.get_vocab_size() == 33_278
    for name, count in {"train": 2_088_628, "valid": 217_646, "test": 245_569}.items():
        assert encode_file(words, WIKITEXT / f"{name}.txt.gz", tmp_path / f"{name}.npy") == TokenCounts(count, count)

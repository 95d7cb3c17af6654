"""Tokenizers: what becomes a token, in which order they are numbered, and the way back to text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gateflow.data.tokenizer import build_tokenizer, decode, decode_stream, end_of_line
from gateflow.errors import ConfigError, DataError

TEXT = "고양이가 나비를 쫓는다\n고양이가 잔다 <unk> 😀\n\nthe  cat saw the dog\n"


@pytest.fixture
def path(tmp_path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    return file


def test_words_are_numbered_by_frequency_then_code_point(path):
    words = build_tokenizer("word", path)
    found = sorted(words.get_vocab(), key=words.token_to_id)
    assert found == ["<unk>", "<eos>", "the", "고양이가", "cat", "dog", "saw", "나비를", "잔다", "쫓는다", "😀"]
    assert found[2:4] == ["the", "고양이가"]


def test_words_of_a_line_end_in_eos(path):
    words = build_tokenizer("word", path)
    assert words.encode("the 고양이가 fish").tokens == ["the", "고양이가", "<unk>", "<eos>"]
    assert words.encode("the cat", add_special_tokens=False).tokens == ["the", "cat"]
    assert words.encode("").tokens == ["<eos>"]


def test_unknown_is_a_word_only_where_white_space_says_so(path):
    words = build_tokenizer("word", path)
    assert words.encode("<unk>", add_special_tokens=False).tokens == ["<unk>"]
    assert words.encode("the<unk>cat", add_special_tokens=False).ids == [words.token_to_id("<unk>")]


def test_vocab_size_keeps_the_most_frequent_words(path):
    words = build_tokenizer("word", path, vocab_size=4)
    assert words.get_vocab() == {"<unk>": 0, "<eos>": 1, "the": 2, "고양이가": 3}
    assert words.encode("the cat").tokens == ["the", "<unk>", "<eos>"]


@given(line=st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",))))
def test_words_are_those_of_str_split(tmp_path_factory, line):
    file = tmp_path_factory.mktemp("any") / "text.txt"
    file.write_text("a " + line.replace("\r", "").replace("\0", "") + "\n", encoding="utf-8")
    with file.open(encoding="utf-8", newline="\n") as lines:
        text = lines.read()
    assert build_tokenizer("word", file).encode(text).tokens == [*text.split(), "<eos>"]


def test_characters_are_unicode_and_the_newline_is_one(path):
    characters = build_tokenizer("char", path)
    assert characters.encode("고 😀x").tokens == ["고", " ", "😀", "<unk>", "\n"]
    assert characters.encode("xxyy", add_special_tokens=False).tokens == ["<unk>"] * 4
    assert characters.get_vocab_size() == len(set(TEXT)) + 1
    assert decode(characters, characters.encode("고양이가  잔다").ids) == "고양이가  잔다\n"


@given(line=st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",))))
def test_bpe_knows_every_text(byte_pairs, line):
    assert decode(byte_pairs, byte_pairs.encode(line).ids) == line + "\n"


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory) -> Tokenizer:
    file = tmp_path_factory.mktemp("bpe") / "text.txt"
    file.write_text(TEXT * 3, encoding="utf-8")
    return build_tokenizer("bpe", file, vocab_size=280)


def test_bpe_learns_the_users_text(byte_pairs):
    assert byte_pairs.get_vocab_size() == 280
    assert len(byte_pairs.encode("고양이가", add_special_tokens=False).ids) < len("고양이가".encode())


def test_bpe_reads_its_end_of_line_as_text_where_a_user_wrote_it(byte_pairs):
    ids = byte_pairs.encode("a<eos>b", add_special_tokens=False).ids
    assert end_of_line(byte_pairs) not in ids
    assert decode(byte_pairs, ids) == "a<eos>b"


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_the_way_back(kind, path):
    tokenizer = build_tokenizer(kind, path)
    ids = [number for line in TEXT.splitlines() for number in tokenizer.encode(line).ids]
    assert decode(tokenizer, ids) == (TEXT.replace("  ", " ") if kind == "word" else TEXT)
    assert decode(tokenizer, ids[:-1]) == decode(tokenizer, ids).removesuffix("\n")
    assert decode(tokenizer, []) == ""


def test_streaming_holds_back_half_a_character(byte_pairs):
    ids = byte_pairs.encode("é", add_special_tokens=False).ids
    assert len(ids) == 2
    assert list(decode_stream(byte_pairs, ids)) == ["é"]
    assert decode(byte_pairs, ids[:1]) == "\ufffd"
    assert decode(byte_pairs, [ids[0], end_of_line(byte_pairs)]) == "\ufffd\n"


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_a_saved_tokenizer_is_the_same(kind, path, tmp_path):
    tokenizer = build_tokenizer(kind, path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for line in TEXT.splitlines():
        assert loaded.encode(line).ids == tokenizer.encode(line).ids
    assert end_of_line(loaded) == end_of_line(tokenizer)


def test_another_process_numbers_alike(path):
    program = (
        "import json, sys; from gateflow.data.tokenizer import build_tokenizer;"
        "json.dump([build_tokenizer(kind, sys.argv[1]).to_str() for kind in ('word', 'char', 'bpe')], sys.stdout)"
    )
    command = [sys.executable, "-c", program, str(path)]
    other = subprocess.run(command, check=True, capture_output=True, env={"PYTHONHASHSEED": "1"})
    assert json.loads(other.stdout) == [build_tokenizer(kind, path).to_str() for kind in ("word", "char", "bpe")]


def test_unknown_kind(path):
    with pytest.raises(ConfigError, match=r"No tokenizer is called 'sentence'\. Choose one of: word, char, bpe\."):
        build_tokenizer("sentence", path)


@pytest.mark.parametrize(("kind", "size"), [("word", 2), ("char", 0), ("bpe", 256)])
def test_too_small_a_vocabulary(kind, size, path):
    with pytest.raises(ConfigError, match=f"A vocabulary of {size} is too small: a {kind} tokenizer needs at least"):
        build_tokenizer(kind, path, vocab_size=size)


@pytest.mark.parametrize("kind", ["word", "char", "bpe"])
def test_a_file_that_is_no_text_is_refused_as_such(kind, tmp_path):
    (tmp_path / "binary").write_bytes(b"\0\1")
    with pytest.raises(DataError, match="NUL byte"):
        build_tokenizer(kind, tmp_path / "binary")

"""Long lines are read in pieces: where they are cut, and that nobody can tell from the tokens."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data import source, text, tokenizer
from gateflow.data.text import Border, read_lines, read_pieces, readable_again
from gateflow.data.tokenizer import build_tokenizer, decode
from gateflow.data.tokens import encode_file
from gateflow.errors import ConfigError, DataError

KINDS = ["word", "char", "bpe"]


def write(folder: Path, content: str, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def whole(pieces) -> str:
    return "".join(piece.text + "\n" * (piece.border is Border.LINE) for piece in pieces)


def borders(path: Path) -> list[str]:
    return [piece.border.name for piece in read_pieces(path)]


@pytest.fixture
def short(monkeypatch):
    """Pieces of at most 12 characters, so that each text of a test is cut many times; the unsplit is read before."""

    def shorten():
        monkeypatch.setattr(text, "LONGEST", 12)
        monkeypatch.setattr(text, "_LOOKED_AT", (4, 12))
        monkeypatch.setattr(source, "_CHUNK", 7)

    return shorten


def test_a_line_is_cut_before_white_space_else_before_a_symbol_else_anywhere(tmp_path, short):
    short()
    path = write(tmp_path, "one two three four\n나는,학교에간다그리고또\nabcdefghijklmnopqrstuvw\nshort\n")
    found = [(piece.text, piece.border.name) for piece in read_pieces(path)]
    assert found == [
        ("one two", "SPACE"),
        (" three four", "LINE"),
        ("나는,학교에간다그리고또", "LINE"),
        ("abcdefghijkl", "NOTHING"),
        ("mnopqrstuvw", "LINE"),
        ("short", "LINE"),
    ]
    assert borders(write(tmp_path, "나는,학교에간다그리고또간다\n")) == ["SYMBOL", "LINE"]


# What pre-tokens are made of: contractions, digits, runs of white space, marks, letters of all kinds, emoji, symbols.
PARTS = [
    "it's",
    "we're",
    "'tis",
    " ",
    "  ",
    "\t",
    "\u3000",
    "나는",
    "é",
    "e\u0301",
    "12",
    "³",
    "😀",
    "...",
    "_",
    "—",
    "一二",
]
TEXTS = st.lists(
    st.sampled_from(PARTS) | st.characters(exclude_characters="\0\r\n\x1c\x1d\x1e\x1f", exclude_categories=("Cs",)),
    min_size=1,
)


def without_long_words(content: str, most: int = 8) -> str:
    """Longer runs of what is not white space are broken by it, so that there is a border in each piece."""
    out, run = [], 0
    for character in content:
        run = 0 if character in " \t\u3000" else run + 1
        out.append(character if run <= most else " " + character)
        run = run if run <= most else 1
    return "".join(out)


@pytest.mark.parametrize("kind", KINDS)
@given(lines=st.lists(TEXTS.map("".join), min_size=1, max_size=4))
def test_tokens_are_those_of_the_unsplit_text(kind, lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    content = "a\n" + "\n".join(without_long_words(" ".join(line.split(" "))) for line in lines)
    path = write(folder, content)
    expected = build_tokenizer(kind, path, 300)
    ids = [number for line in read_lines(path) for number in expected.encode(line).ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "LONGEST", 12)
        patch.setattr(text, "_LOOKED_AT", (4, 12))
        patch.setattr(source, "_CHUNK", 7)
        assert whole(read_pieces(path)) == "\n".join(read_lines(path)) + "\n"
        found = build_tokenizer(kind, path, 300)
        counts = encode_file(found, path, folder / "text.npy")
    assert found.to_str() == expected.to_str()
    assert np.load(folder / "text.npy").tolist() == ids
    assert counts.words == sum(len(line.split()) + 1 for line in read_lines(path))


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_line_of_real_size_is_one_line(kind, tmp_path):
    rng = random.Random(0)
    known = ["the", "고양이가", "cat's", "12", "—", "e\u0301tat", "sleeps,"]
    content = " ".join(rng.choices(known, k=60_000))
    path = write(tmp_path, content)
    assert len(borders(path)) > 3
    built = build_tokenizer(kind, path)
    encode_file(built, path, tmp_path / "text.npy")
    assert np.load(tmp_path / "text.npy").tolist() == built.encode(content).ids


def test_merges_are_learned_until_the_different_words_are_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer, "_LEARNED_FROM", 60)
    common = "abc abd 고양이 " * 50
    path = write(tmp_path, f"{common}\n{common}\n{'xyz' * 10} {'zyx' * 10}\nqqqq\n")
    fed = list(tokenizer._learned_from(read_pieces(path)))
    assert fed == [common, common]
    vocabulary = build_tokenizer("bpe", path, 300).get_vocab()
    assert "ab" in vocabulary
    assert "xyz" not in vocabulary


def test_a_language_without_spaces_takes_no_more_memory(tmp_path):
    """In a process of its own, whose memory the tokenizer's library takes from the system."""
    rng = random.Random(0)
    known = [chr(0x4E00 + n) for n in range(3000)]
    path = write(
        tmp_path, "".join("".join(rng.choices(known, k=9)) + "，" for _ in range(300_000))
    )  # 9 MB, and 1.2 GB if all of it were learned from
    program = (
        "import re, sys; from gateflow.data import tokenizer;"
        "tokenizer._LEARNED_FROM = 1 << 20;"
        "tokenizer.build_tokenizer('bpe', sys.argv[1], 400);"
        # Not ru_maxrss, which begins with what the process had that started this one.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 600


def test_a_character_newer_than_this_python_is_no_border(tmp_path, short):
    short()
    assert borders(write(tmp_path, "abcdefghij\U0003fffdklmn\n")) == ["NOTHING", "LINE"]  # never assigned so far
    assert borders(write(tmp_path, "abcdefghij\u20ackklmn\n")) == ["SYMBOL", "LINE"]


def test_bpe_of_a_text_without_white_space_is_cut_at_symbols(tmp_path):
    rng = random.Random(0)
    content = "".join(rng.choice(["나는", "학교에", "。", "、", "간다", "12"]) for _ in range(60_000))
    path = write(tmp_path, content)
    assert set(borders(path)) == {"SYMBOL", "LINE"}
    built = build_tokenizer("bpe", path, 400)
    encode_file(built, path, tmp_path / "text.npy")
    assert np.load(tmp_path / "text.npy").tolist() == built.encode(content).ids


def test_a_text_that_is_one_pre_token_is_cut_and_words_are_refused(tmp_path):
    rng = random.Random(0)
    path = write(tmp_path, "ok\n" + "".join(rng.choices("acgt", k=200_000)))
    assert borders(path) == ["LINE", "NOTHING", "NOTHING", "NOTHING", "LINE"]
    for kind in ("char", "bpe"):
        built = build_tokenizer(kind, path, 270)
        counts = encode_file(built, path, tmp_path / "text.npy")
        assert counts.words == 4
        assert decode(built, np.load(tmp_path / "text.npy").tolist()) == path.read_text() + "\n"
    with pytest.raises(
        DataError, match=r"text\.txt, line 2: no white space in 65,536 characters.*--tokenizer char or bpe"
    ):
        build_tokenizer("word", path)
    (tmp_path / "other.txt").write_text("ok ok\n")
    with pytest.raises(DataError, match="no white space in 65,536 characters"):
        encode_file(build_tokenizer("word", tmp_path / "other.txt"), path, tmp_path / "text.npy")


def test_more_different_words_than_a_vocabulary_can_have(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer, "MOST_WORDS", 5)
    path = write(tmp_path, "a b c d e\na f\n")
    with pytest.raises(ConfigError, match=r"text\.txt has more than 5 different words\. Choose a --vocab-size"):
        build_tokenizer("word", path)
    assert build_tokenizer("word", path, 4).get_vocab_size() == 4


def test_white_space_alone_is_no_long_word(tmp_path):
    path = write(tmp_path, "a" + " " * 200_000 + "b\n")
    words = build_tokenizer("word", path)
    assert encode_file(words, path, tmp_path / "text.npy") == (3, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_reading_holds_a_piece_or_two(tmp_path, packed):
    content = ("one two three " * 600_000).encode()  # 8.4 MB in one line
    path = tmp_path / "text"
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    tracemalloc.start()
    length = sum(len(piece.text) for piece in read_pieces(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length == len(content)
    assert peak < 1_500_000


def test_line_ends_at_a_cut(tmp_path, short):
    short()
    path = write(tmp_path, "abcdefghijkl\r\nabcdefghijklm\r\n\r\nabc defg hi\r\nx")
    assert whole(read_pieces(path)) == "abcdefghijkl\nabcdefghijklm\n\nabc defg hi\nx\n"


def test_wrong_bytes_are_found_across_chunks(tmp_path, short):
    short()
    path = tmp_path / "bad.txt"
    path.write_bytes("\ufeff나는 학교에\n간다".encode() + b"\xed\x95x")
    with pytest.raises(DataError, match=r"byte 0xed at offset 26 \(line 2, column 3\)"):
        list(read_pieces(path))
    path.write_bytes("나는 학교에\n간다".encode() + b"\xed\x95")
    with pytest.raises(DataError, match=r"byte 0xed at offset 23 \(line 2, column 3\)"):
        list(read_pieces(path))


def test_lines_as_a_whole_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "LONGEST_LINE", 100_000)
    assert len(list(read_lines(write(tmp_path, "x" * 99_999 + "\n")))) == 1
    with pytest.raises(DataError, match=r"text\.txt, line 2: longer than 100,000 characters"):
        list(read_lines(write(tmp_path, "a\n" + "x" * 200_000 + "\n")))


def test_a_bomb_is_refused_before_it_goes_off(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"a " * 40_000_000, 9))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(
        DataError, match=r"bomb\.gz is no text: .* expand to more than .* Beyond 64 MiB up to 200 times"
    ):
        sum(1 for _ in read_pieces(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/urandom"])
def test_devices_are_refused(path):
    with pytest.raises(DataError, match=f"{path} is a device or a socket"):
        read_pieces(path)


@pytest.fixture
def pipe(tmp_path):
    path, content = tmp_path / "pipe", "the cat sat\n" * 40_000
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=[content])
    writer.start()
    yield path, content
    writer.join()


def test_a_named_pipe_is_read_like_a_file(pipe):
    path, content = pipe
    assert whole(read_pieces(path)) == content


def test_a_pipe_that_is_read_twice_is_kept_for_the_time(pipe, tmp_path):
    path, content = pipe
    with readable_again(path, tmp_path) as copy:
        assert whole(read_pieces(copy)) == whole(read_pieces(copy)) == content
    assert list(tmp_path.iterdir()) == [path]

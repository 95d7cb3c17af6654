"""Every kind of file somebody may pass as text: what is read, and what is said about what cannot be."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.text import read_lines
from gateflow.errors import DataError

KOREAN = "고양이가 나비를 쫓는다\n강아지는 😀 잔다\n"


def write(folder: Path, content: bytes, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_plain_and_gzip_give_the_same_lines_whatever_the_name(tmp_path):
    expected = KOREAN.splitlines()
    assert list(read_lines(write(tmp_path, KOREAN.encode()))) == expected
    assert list(read_lines(write(tmp_path, gzip.compress(KOREAN.encode()), "text.txt"))) == expected
    assert list(read_lines(str(write(tmp_path, KOREAN.encode(), "plain.gz")))) == expected


def test_gzip_of_several_members_is_read_to_its_end(tmp_path):
    path = write(tmp_path, gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert list(read_lines(path)) == ["one", "two"]


def test_byte_order_mark_and_windows_line_ends_disappear(tmp_path):
    assert list(read_lines(write(tmp_path, "\ufeff하나\r\n둘\r\n".encode()))) == ["하나", "둘"]


def test_only_newlines_end_a_line(tmp_path):
    assert list(read_lines(write(tmp_path, "a\x0bb\u2028c\x85d\ne".encode()))) == ["a\x0bb\u2028c\x85d", "e"]


def test_blank_lines_stay(tmp_path):
    assert list(read_lines(write(tmp_path, b"\na\n\n"))) == ["", "a", ""]


@given(text=st.text(st.characters(exclude_characters="\0\r", exclude_categories=("Cs",)), min_size=1))
def test_any_text_comes_back(tmp_path_factory, text):
    path = write(tmp_path_factory.mktemp("any"), ("x" + text + "\n").encode())
    assert "\n".join([*read_lines(path), ""]) == "x" + text + "\n"


def test_missing_file_is_reported_before_the_first_line(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist\. Give the path"):
        read_lines(tmp_path / "nowhere.txt")


def test_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        read_lines(tmp_path)


def test_path_through_a_file_is_refused_with_the_systems_reason(tmp_path):
    with pytest.raises(DataError, match="cannot be opened: Not a directory"):
        read_lines(write(tmp_path, b"a") / "b.txt")


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_empty(tmp_path, content):
    assert "is empty" in error_of(write(tmp_path, content))


def test_white_space_only(tmp_path):
    assert "nothing but white space (10 bytes)" in error_of(write(tmp_path, " \n\t\n\u3000  \n".encode()))


def test_binary(tmp_path):
    message = error_of(write(tmp_path, b"abc\nde\0f"))
    assert "NUL byte at offset 6 (line 2, column 3)" in message


def test_utf_16_with_its_mark(tmp_path):
    message = error_of(write(tmp_path, "text".encode("utf-16")))
    assert "is UTF-16" in message
    assert "iconv -f UTF-16 -t UTF-8" in message


@pytest.mark.parametrize(("mark", "offset"), [(b"", 7), (b"\xef\xbb\xbf", 10)])
def test_wrong_encoding_names_the_byte_and_the_remedy(tmp_path, mark, offset):
    message = error_of(write(tmp_path, mark + "abc\ncafé\n".encode("latin-1")))
    assert f"byte 0xe9 at offset {offset} (line 2, column 4)" in message
    assert "iconv -f" in message


def test_the_remedy_is_one_for_what_was_read(tmp_path, monkeypatch):
    text = "abc\ncafé\n".encode("latin-1")
    assert "zcat " in error_of(write(tmp_path, gzip.compress(text), "text.gz"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    message = error_of(Path("-"))
    assert "… | iconv -f CP1252 -t UTF-8 | gateflow …" in message
    assert "-.utf8" not in message


def test_wrong_encoding_on_a_marked_first_line(tmp_path):
    assert "byte 0xe9 at offset 3 (line 1, column 1)" in error_of(write(tmp_path, b"\xef\xbb\xbf\xe9\n"))


def test_truncated_gzip(tmp_path):
    whole = gzip.compress(KOREAN.encode() * 100)
    assert "cut short" in error_of(write(tmp_path, whole[: len(whole) // 2]))


def test_damaged_gzip(tmp_path):
    whole = bytearray(gzip.compress(KOREAN.encode() * 100))
    whole[-6] ^= 0xFF
    assert "damaged gzip data" in error_of(write(tmp_path, bytes(whole)))


def test_reading_is_lazy(tmp_path):
    lines = read_lines(write(tmp_path, b"good\n" * 10 + b"\0"))
    assert [next(lines) for _ in range(10)] == ["good"] * 10
    with pytest.raises(DataError, match="NUL"):
        next(lines)

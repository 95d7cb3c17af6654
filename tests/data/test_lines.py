"""Lines as they come: blocks of a file, and of a pipe whatever has been written by now."""

import io
import os
import sys
from pathlib import Path

import pytest

from gateflow.data.lines import blocks_of_lines
from gateflow.errors import DataError


class Piped:
    """Standard input that is the other end of a pipe."""

    def __init__(self, descriptor):
        self.buffer = io.BufferedReader(io.FileIO(descriptor))

    def isatty(self):
        return False


@pytest.fixture
def pipe(monkeypatch):
    read, write = os.pipe()
    piped = Piped(read)
    monkeypatch.setattr(sys, "stdin", piped)
    yield write
    piped.buffer.close()


def test_a_line_is_there_before_the_next_is_written(pipe):
    blocks = blocks_of_lines(Path("-"), 100)
    for line in ("one", "둘", ""):
        os.write(pipe, f"{line}\n".encode())
        assert next(blocks) == [line]
    os.write(pipe, b"last")
    os.close(pipe)
    assert list(blocks) == [["last"]]


def test_what_is_there_comes_together_and_no_more_than_asked(pipe):
    os.write(pipe, b"x\n" * 1000)
    os.close(pipe)
    blocks = list(blocks_of_lines(Path("-"), 64))
    assert sum(map(len, blocks)) == 1000
    assert max(map(len, blocks)) <= 64


def test_what_is_no_text_is_told_after_what_is(pipe):
    os.write(pipe, b"fine\n\xff\n")
    os.close(pipe)
    blocks = blocks_of_lines(Path("-"), 64)
    with pytest.raises(DataError, match="not UTF-8"):
        list(blocks)


def test_blocks_of_a_file(tmp_path):
    file = tmp_path / "text"
    file.write_text("a\nb\nc\n")
    assert list(blocks_of_lines(file, 2)) == [["a", "b"], ["c"]]

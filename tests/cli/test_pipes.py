"""Texts that are no files: what is piped in, named pipes, process substitution, devices."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import pytest
from tests.cli.conftest import SMALL
from tests.cli.test_bad_input import assert_refused, folder

from gateflow.tasks.language_model.run import LanguageModelRun as Run

TEXT = "the cat sat on the mat\nthe dogs sit on the mats\n" * 20


@pytest.fixture
def piped(monkeypatch):
    """Give the next command this on its standard input."""

    def give(content: bytes):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return give


@pytest.fixture
def pipe(tmp_path):
    """The path of a pipe through which a text comes, as a shell's ``<(…)`` gives it."""
    threads, ends = [], []

    def make(content: bytes = TEXT.encode()) -> str:
        receiving, sending = os.pipe()
        ends.append(receiving)

        def send():
            with os.fdopen(sending, "wb") as file:
                file.write(content)

        threads.append(threading.Thread(target=send))
        threads[-1].start()
        return f"/dev/fd/{receiving}"

    yield make
    for end in ends:
        os.close(end)
    for thread in threads:
        thread.join()


def same_run(one, other):
    for part in ("train", "valid"):
        assert Run(one).tokens_file(part).read_bytes() == Run(other).tokens_file(part).read_bytes()
    assert Run(one).model_file.read_bytes() == Run(other).model_file.read_bytes()


def test_a_text_that_is_piped_in_is_learned_as_a_file_is(gateflow, trained, piped, tmp_path):
    piped(TEXT.encode())
    assert gateflow("train", "lm", "--data", "-", "--out", tmp_path / "run", *SMALL).code == 0
    same_run(tmp_path / "run", trained)
    assert gateflow("resume", tmp_path / "run").code == 0  # the text is not asked for again
    assert not [name for name in folder(tmp_path / "run") if "stdin" in name]


def test_process_substitution_too(gateflow, pipe, corpus, tmp_path):
    words = ("train", "lm", *SMALL)
    assert gateflow(*words, "--data", pipe(), "--valid", pipe(b"the cat sat\n"), "--out", tmp_path / "run").code == 0
    (tmp_path / "valid.txt").write_text("the cat sat\n")
    assert gateflow(*words, "--data", corpus, "--valid", tmp_path / "valid.txt", "--out", tmp_path / "other").code == 0
    same_run(tmp_path / "run", tmp_path / "other")


def test_other_verbs_read_them_once(gateflow, trained, corpus, piped, pipe):
    expected = gateflow("evaluate", trained, "--data", corpus).out
    piped(TEXT.encode())
    assert gateflow("evaluate", trained, "--data", "-").out == expected
    assert gateflow("evaluate", trained, "--data", pipe()).out == expected
    assert gateflow("diagnose", trained, "--data", pipe(TEXT.encode() * 4)).code == 0
    pairs = b"grammatical\tungrammatical\nthe cat sat\tthe cat sit\n"
    piped(pairs)
    assert "1" in gateflow("agreement", trained, "--data", "-").out
    assert gateflow("compare", "--data", pipe(), "--cells", "gru", *SMALL, "--updates", 2).code == 0


@pytest.mark.parametrize("content", [b"", b" \n", b"a\0b", b"\xff\xfea", b"caf\xe9\n"], ids=ascii)
def test_what_is_no_text_is_refused_from_a_pipe_as_from_a_file(content, gateflow, piped, tmp_path):
    piped(content)
    result = gateflow("train", "lm", "--data", "-", "--out", tmp_path / "run", *SMALL)
    assert_refused(result, 1, "stdin ")
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_is_no_utf_8_is_refused_in_every_locale(gateflow, trained, monkeypatch):
    # As Python reads standard input and the command line in the locale C.
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    strange = io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdin", strange)
    assert_refused(gateflow("generate", trained), 2, "the text that is piped in is not UTF-8")
    assert_refused(gateflow("generate", trained, "--prompt", text), 2, "--prompt is not UTF-8")


def test_one_text_cannot_be_two(gateflow, piped, tmp_path):
    piped(TEXT.encode())
    words = ("--data", "-", "--valid", "-", "--out", tmp_path / "run", *SMALL)
    assert_refused(gateflow("train", "lm", *words), 2, "one text is piped in, and it cannot be both")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_piped_in(gateflow, monkeypatch, tmp_path):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    result = gateflow("train", "lm", "--data", "-", "--out", tmp_path / "run")
    assert_refused(result, 1, "- stands for a text that is piped in, and nothing is")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_devices(device, gateflow, trained, tmp_path):
    for words in (("train", "lm", "--out", tmp_path / "run", *SMALL), ("evaluate", trained), ("agreement", trained)):
        assert_refused(gateflow(*words, "--data", device), 1, f"{device} is a device or a socket")


def test_a_prompt_without_end(gateflow, trained, piped):
    piped(b"the cat " * 200_000)
    assert_refused(gateflow("generate", trained), 2, "more than 1,048,576 characters are piped in")
    piped(b"caf\xe9")
    assert_refused(gateflow("generate", trained), 2, "is not UTF-8")


def test_pairs_of_sentences_without_end(gateflow, trained, tmp_path):
    (tmp_path / "pairs.tsv").write_text("grammatical\tungrammatical\n" + "x" * 200_000 + "\ty\n")
    assert_refused(gateflow("agreement", trained, "--data", tmp_path / "pairs.tsv"), 1, "line 2: field larger than")
    (tmp_path / "pairs.tsv").write_text("x" * 200_000 + "\n")
    assert_refused(gateflow("agreement", trained, "--data", tmp_path / "pairs.tsv"), 1, "line 1: field larger than")


def test_a_shell(trained, corpus):
    """Once with a real shell: a pipe, and a substitution."""
    gateflow = f"{sys.executable} -m gateflow"
    command = (
        f"cat {corpus} | {gateflow} evaluate {trained} --data - && {gateflow} evaluate {trained} --data <(cat {corpus})"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()[:2], done.stdout.splitlines()[2:]
    assert first == second
    assert "perplexity per word" in first[1]

"""Bad input: a clear message of one or two lines, the right exit code, nothing lost, nothing half-written."""

import errno
import gzip
import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.cli.conftest import SMALL
from tests.conftest import reset_accelerate

from gateflow.cli import main
from gateflow.runs.lasting import EQUATIONS, OPTIONS
from gateflow.runs.weights import read_tensors, write_tensors
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.training.checkpoint import Checkpoint


def assert_refused(result, code, *parts):
    assert result.code == code, result
    assert result.out == ""
    assert len(result.err.strip().splitlines()) <= 2, result.err
    assert "Traceback" not in result.err
    for part in parts:
        assert part in result.err, result.err


def folder(path):
    return {entry.relative_to(path).as_posix(): entry.read_bytes() for entry in path.rglob("*") if entry.is_file()}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ("--data: ", "bad.txt does not exist. Did you mean bad.tx?")),
        (b"", ("bad.txt is empty",)),
        (b" \n\n", ("bad.txt holds nothing but white space",)),
        (b"\x7fELF\x02\x01\x00\x00", ("bad.txt is not text", "NUL byte")),
        ("café\nété\n".encode("latin-1"), ("bad.txt is not UTF-8", "offset 3", "iconv")),
        ("the cat".encode("utf-16"), ("bad.txt is UTF-16", "iconv")),
        (gzip.compress(b"the cat sat\n" * 99, mtime=0)[:-20], ("bad.txt ends before its gzip data does",)),
        (b"hello\n", ("bad.txt is one line", "--valid")),
        (b"hello\nhello\n", ("the train part of", "bad.txt has 2 tokens", "--batch-size 1 or less")),
    ],
)
def test_a_text_that_is_none(gateflow, tmp_path, content, parts):
    text, out = tmp_path / "bad.txt", tmp_path / "runs" / "new"
    if content is not None:
        text.write_bytes(content)
    else:
        text.with_suffix(".tx").touch()
    assert_refused(gateflow("train", "lm", "--data", text, "--out", out, *SMALL), 1, *parts)
    assert not out.exists()
    assert list((tmp_path / "runs").glob(".*")) == []


def test_a_corpus_of_one_token(gateflow, tmp_path, corpus):
    (tmp_path / "one.txt").write_text("\n\nx", encoding="utf-8")
    words = ("--data", tmp_path / "one.txt", "--valid", corpus, "--out", tmp_path / "run", *SMALL, "--batch-size=9")
    assert_refused(
        gateflow("train", "lm", *words),
        1,
        "one.txt has 4 tokens, too few for --batch-size 9; use --batch-size 3 or less",
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("--cell=lstmm", ("no cell is called 'lstmm'", "did you mean lstm")),
        ("--cell=:", (": is no place of a cell; write it as package.module:Class",)),
        ("--cell=.:Mine", (".:Mine is no place of a cell",)),
        ("--hidden-size=0", ("--hidden-size 0: input should be greater than or equal to 1",)),
        ("--bidirectional", ("--bidirectional: a language model predicts the next token",)),
        ("--optimizer=adam", ("--optimizer adam: did you mean adamw? there are adamw, sgd",)),
        ("--init=crono:60", ("--init crono:60: no such initial weights; did you mean chrono:60?",)),
        ("--init=chrono", ("--init chrono: chrono takes a number",)),
        ("--clip=0", ("--clip 0: neither a number above 0 nor auto",)),
    ],
)
def test_an_option_that_cannot_work(gateflow, tmp_path, corpus, option, parts):
    result = gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", *SMALL, option)
    assert_refused(result, 2, *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_config_file_that_asks_for_the_future(gateflow, tmp_path, corpus):
    (tmp_path / "mine.toml").write_text("[model]\nbidirectional = true\n")
    words = ("--data", corpus, "--out", tmp_path / "run", "--config", tmp_path / "mine.toml")
    assert_refused(gateflow("train", "lm", *words), 2, "bidirectional in", "mine.toml", "already read")


def test_initial_weights_that_a_cell_cannot_have(gateflow, tmp_path, corpus):
    words = ("--data", corpus, "--out", tmp_path / "run", *SMALL, "--cell=elman", "--init=chrono:60")
    assert_refused(gateflow("train", "lm", *words), 2, "Elman has no gate that keeps a memory")


@pytest.mark.parametrize(
    "words",
    [["train", "lm"], ["train", "lm", "--out", "x", "--hidden-size", "many"], ["resume"], ["fly"], ["cells", "--wide"]],
)
def test_wrong_use_is_code_2(gateflow, words):
    result = gateflow(*words)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_out_that_exists(gateflow, trained, corpus):
    before = folder(trained)
    assert_refused(
        gateflow("train", "lm", "--data", corpus, "--out", trained, *SMALL), 1, f"gateflow resume {trained}", "--force"
    )
    assert folder(trained) == before


def test_force_with_a_text_that_is_none_keeps_the_old_run(gateflow, trained, tmp_path):
    before = folder(trained)
    words = ("--data", tmp_path / "none.txt", "--out", trained, "--force", *SMALL)
    assert_refused(gateflow("train", "lm", *words), 1, "none.txt does not exist")
    assert folder(trained) == before


def edited(run, old, new):
    text = run.config_file.read_text()
    assert old in text
    run.config_file.write_text(text.replace(old, new))


def unsealed(run):
    """The run as an older version would have written it."""
    (run.path / "SHA256SUMS").unlink()
    return run


def flipped(file, byte):
    content = bytearray(file.read_bytes())
    content[byte] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("verb", ["evaluate", "generate", "resume"])
@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda run: run.config_file.unlink(), ("is not a run", "config.toml")),
        (lambda run: run.config_file.write_text("format = 99\n"), ("run format 99", "Upgrade it")),
        (lambda run: run.config_file.write_text("format = \n"), ("config.toml is not TOML",)),
        (lambda run: run.tokenizer_file.unlink(), ("lacks tokenizer.json", "restore it")),
        (lambda run: run.tokenizer_file.write_text('{"model": 3}'), ("tokenizer.json is damaged",)),
        (lambda run: unsealed(run).tokenizer_file.write_text('{"model": 3}'), ("tokenizer.json is damaged",)),
        (lambda run: os.truncate(run.tokenizer_file, 1 << 40), ("tokenizer.json is larger than 64 MiB",)),
        (lambda run: flipped(run.tokenizer_file, 200), ("tokenizer.json is damaged: its checksum",)),
        (lambda run: flipped(run.path / "SHA256SUMS", 70), ("SHA256SUMS is damaged",)),
        (lambda run: (run.path / "SHA256SUMS").write_bytes(b"\xff"), ("SHA256SUMS is damaged",)),
        (lambda run: edited(run, "hidden_size = 8", "hidden_size = 1_000_000_000"), ("hidden_size in", "1000000000")),
        (lambda run: edited(run, "hidden_size = 8", "hidden_size = 1_000_000"), ("does not fit", "safetensors")),
        (lambda run: edited(run, "layers = 1", "layers = 999"), ("does not fit", "asks for 999 layers")),
        (lambda run: edited(run, "embedding_size = 8", "embedding_size = 9"), ("does not fit", "projection")),
    ],
)
def test_a_damaged_run(gateflow, trained, corpus, verb, damage, parts):
    damage(LanguageModelRun(trained))
    words = {"evaluate": ("--data", corpus), "generate": ("--prompt", "the"), "resume": ()}[verb]
    result = gateflow(verb, trained, *words)
    assert_refused(result, result.code, *parts)
    assert result.code in (1, 2)


def rewritten(run, change):
    tensors, metadata = read_tensors(run.model_file)
    change(tensors)
    write_tensors(run.model_file, tensors, metadata)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda run: run.model_file.unlink(), ("lacks model.safetensors", "gateflow resume")),
        (lambda run: os.truncate(run.model_file, 100), ("model.safetensors is damaged",)),
        (lambda run: rewritten(run, lambda t: t.pop("bias")), ("does not fit", "lacks bias")),
        (lambda run: rewritten(run, lambda t: t.update(bias=torch.zeros(3))), ("does not fit", "bias is [3]")),
        (lambda run: rewritten(run, lambda t: t["bias"].fill_(torch.nan)), ("bias in", "NaN or infinity")),
        (lambda run: rewritten(run, lambda t: t.update(bias=t["bias"].to(torch.int8))), ("bias is int8",)),
        (lambda run: rewritten(run, lambda t: t.update(bias=t["bias"] > 0)), ("bias is bool",)),
        (lambda run: flipped(run.model_file, -3), ("model.safetensors is damaged", "checksum")),
    ],
)
def test_damaged_weights(gateflow, trained, corpus, damage, parts):
    damage(LanguageModelRun(trained))
    for words in (("evaluate", trained, "--data", corpus), ("generate", trained, "--prompt", "the")):
        assert_refused(gateflow(*words), 1, *parts)


def zipped(file):
    with file.open("wb") as out:
        np.savez(out, x=[1])


def stopped_midway(run, old, new):
    """Trained on to the middle of its third epoch, and then edited."""
    edited(run, "epochs = 2", "epochs = 3\nmax_updates = 61")
    with pytest.raises(SystemExit):
        main(["resume", str(run.path)])
    reset_accelerate()
    edited(run, "max_updates = 61", "max_updates = 70")
    edited(run, old, new)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda run: run.checkpoint_file.unlink(), ("last.safetensors is missing",)),
        (lambda run: os.truncate(run.checkpoint_file, 100), ("last.safetensors is damaged",)),
        (lambda run: run.tokens_file("train").unlink(), ("lacks tokens/train.npy", "--force")),
        (lambda run: os.truncate(run.tokens_file("valid"), 100), ("valid.npy",)),
        (lambda run: os.truncate(unsealed(run).tokens_file("valid"), 100), ("valid.npy is no whole token file",)),
        (lambda run: flipped(run.checkpoint_file, -3), ("last.safetensors is damaged", "checksum")),
        (lambda run: flipped(run.tokens_file("train"), -3), ("train.npy is damaged: its checksum",)),
        (lambda run: np.save(run.tokens_file("train"), np.arange(9, dtype="<u2")), ("train.npy is damaged",)),
        (lambda run: np.save(unsealed(run).tokens_file("train"), np.full(999, 999, "<u2")), ("holds the token 999",)),
        (lambda run: zipped(unsealed(run).tokens_file("train")), ("train.npy is no whole token file",)),
        (
            lambda run: stopped_midway(run, "window = 5", "window = 1_000"),
            ("stands at batch", "window and accumulate"),
        ),
        (lambda run: stopped_midway(run, "accumulate = 1", "accumulate = 4"), ("stands at batch",)),
        (lambda run: stopped_midway(run, "batch_size = 2", "batch_size = 3"), ("carried state", "batch_size")),
    ],
)
def test_a_run_that_cannot_go_on(gateflow, trained, damage, parts):
    damage(LanguageModelRun(trained))
    assert_refused(gateflow("resume", trained), 1, *parts)


def test_options_edited_on_purpose_are_obeyed(gateflow, trained):
    run = LanguageModelRun(trained)
    edited(run, "epochs = 2", "epochs = 3\nmax_updates = 60")
    edited(run, "weight_decay = 0.0", "weight_decay = 0.5")
    assert gateflow("resume", trained).code == 0
    assert Checkpoint.read(run.checkpoint_file).progress.step == 60
    assert Checkpoint.read(run.checkpoint_file).optimizer["groups"][0]["weight_decay"] == 0.5


def test_a_run_of_an_older_version_has_no_checksums_and_goes_on(gateflow, trained, corpus):
    run = unsealed(LanguageModelRun(trained))
    for file in (run.model_file, run.checkpoint_file):
        tensors, metadata = read_tensors(file)
        assert metadata.pop(OPTIONS)
        assert metadata.pop(EQUATIONS)
        save_file(tensors, file, metadata)
    edited(run, "epochs = 2", "epochs = 3")
    assert gateflow("evaluate", trained, "--data", corpus).code == 0
    assert gateflow("resume", trained).code == 0


def test_a_run_that_is_being_trained(gateflow, trained):
    with LanguageModelRun(trained).lock():
        assert_refused(gateflow("resume", trained), 1, "is being trained by another process")


def test_a_full_disk_at_set_up_leaves_nothing(gateflow, tmp_path, corpus, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = gateflow("train", "lm", "--data", corpus, "--out", tmp_path / "run", *SMALL)
    monkeypatch.undo()
    assert_refused(result, 1, "could not write", "No space left on device")
    assert list(tmp_path.iterdir()) == []


@contextmanager
def files_of_at_most(size):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_real_limit_on_file_size_keeps_the_last_good_files(gateflow, trained):
    run = LanguageModelRun(trained)
    run.config_file.write_text(run.config_file.read_text().replace("epochs = 2", "epochs = 3"))
    before = folder(trained)
    with files_of_at_most(2000):
        result = gateflow("resume", trained)
    assert result.code == 1
    assert result.err.endswith("make room or choose a folder you may write to, then go on.\n")
    assert ".safetensors: File too large" in result.err
    after = folder(trained)
    assert after.keys() == before.keys()
    for name in ("model.safetensors", "checkpoint/last.safetensors", "tokenizer.json"):
        assert after[name] == before[name]
    assert gateflow("resume", trained).code == 0


def test_what_is_unexpected_is_short_too_and_debug_shows_where(gateflow, monkeypatch):
    def broken():
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("gateflow.cells.names", broken)
    assert_refused(gateflow("cells"), 1, "unexpected ZeroDivisionError: a bug of ours", "--debug")
    with pytest.raises(ZeroDivisionError):
        gateflow("cells", "--debug")


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 10**30])
def test_a_seed_that_no_generator_takes(gateflow, trained, seed):
    assert_refused(gateflow("generate", trained, "--prompt", "the", "--seed", seed), 2, "seed must be", f"not {seed}")


def test_two_files_with_a_comma_between_them_are_no_file_that_is_missing(gateflow, tmp_path, monkeypatch):
    """``--data train.ja,train.en``: each of the two is looked for, and is named as what it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.ja").write_text("a b\nc d\n")
    (tmp_path / "train.en").write_text("A B\n")
    words = ("train", "translator", "--out", "run", "--data")
    assert_refused(gateflow(*words, "train.ja,train.en"), 1, "train.en ends after line 1, where train.ja has 'c d'")
    assert_refused(gateflow(*words, "train.ja,train.e"), 1, "--target-data: train.e does not exist. Did you mean")
    assert_refused(gateflow(*words, "train.j,train.en"), 1, "--data: train.j does not exist. Did you mean train.ja?")
    more = ("train.ja,train.en", "--valid", "valid.ja,train.en")
    assert_refused(gateflow(*words, *more), 1, "--valid: valid.ja does not exist")
    compared = ("compare", "--task", "translator", "--updates", 1, "--data", "train.ja,train.en")
    assert_refused(gateflow(*compared), 1, "train.en ends after line 1")

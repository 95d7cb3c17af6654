"""`gateflow export RUN --onnx FILE`, and the program that it writes in a process without torch and gateflow."""

import copy
import json
import subprocess
import sys

import pytest
import torch

from gateflow.tasks.language_model import export

pytest.importorskip("onnx", reason="needs onnx")
pytest.importorskip("onnxscript", reason="needs onnxscript, by which torch writes ONNX")
pytest.importorskip("onnxruntime", reason="needs onnxruntime")

BLOCKED = """
import runpy, sys
class Blocked:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "gateflow"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(program, *words):
    command = [sys.executable, "-c", BLOCKED, str(program), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_writes_what_the_run_writes(gateflow, trained, tmp_path):
    told = gateflow("export", trained, "--onnx", tmp_path / "model.onnx")
    assert told.code == 0, told.err
    assert f"Run it without gateflow: python {tmp_path / 'model.py'}" in told.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.py", "trained"]
    likeliest = ("--prompt", "the cat", "--length", "12", "--temperature", "0")
    assert run(tmp_path / "model.py", *likeliest) == gateflow("generate", trained, *likeliest).out
    drawn = [run(tmp_path / "model.py", "--prompt", "the", "--length", "9", "--seed", "3") for _ in range(2)]
    assert drawn[0] == drawn[1]
    shares = [float(line.split()[0]) for line in run(tmp_path / "model.py", "--next", "99").splitlines()]
    assert sum(shares) == pytest.approx(1, abs=1e-2)
    assert shares == sorted(shares, reverse=True)


def test_integers_of_8_bits_and_what_is_lost(gateflow, trained, corpus, tmp_path):
    file = tmp_path / "model.onnx"
    told = json.loads(gateflow("export", trained, "--onnx", file, "--int8", "--data", corpus, "--json").out)
    assert told["bytes"] == file.stat().st_size < told["bytes_without_int8"]
    evaluated = json.loads(gateflow("evaluate", trained, "--data", corpus, "--json").out)
    assert told["tokens"] == evaluated["tokens"]
    assert told["perplexity"] == pytest.approx(evaluated["perplexity"], rel=1e-4)
    assert told["perplexity_int8"] == pytest.approx(told["perplexity"], rel=0.05)
    assert told["perplexity_int8"] != told["perplexity"]
    assert run(tmp_path / "model.py", "--length", "3")


def test_what_is_there_is_not_replaced(gateflow, trained, tmp_path):
    program = tmp_path / "model.py"
    program.write_text("mine")
    refused = gateflow("export", trained, "--onnx", tmp_path / "model.onnx")
    assert (refused.code, program.read_text()) == (2, "mine")
    assert f"{program} is there already; choose another name, or add --force" in refused.err
    assert not (tmp_path / "model.onnx").exists()


def test_words_that_cannot_work(gateflow, trained, corpus, tmp_path):
    for words, why in (
        (("--onnx", tmp_path / "model"), "name a file that ends in .onnx"),
        (("--onnx", tmp_path / "none" / "model.onnx"), f"there is no folder {tmp_path / 'none'}"),
        (("--onnx", tmp_path / "model.onnx", "--data", corpus), " is for what --int8 loses; add --int8"),
    ):
        refused = gateflow("export", trained, *words)
        assert refused.code == 2
        assert why in refused.err


def test_what_is_not_installed_is_named_with_its_extra(gateflow, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxscript.optimizer", None)
    refused = gateflow("export", trained, "--onnx", tmp_path / "model.onnx")
    assert refused.code == 1
    assert "onnxscript is not installed, which ONNX needs: pip install onnx onnxscript onnxruntime" in refused.err


def test_a_file_that_computes_something_else_is_not_written(gateflow, trained, tmp_path, monkeypatch):
    made = export.onnx_bytes

    def another_model(model, *args, **options):
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.model.bias += 0.01
        return made(other, *args, **options)

    monkeypatch.setattr(export, "onnx_bytes", another_model)
    refused = gateflow("export", trained, "--onnx", tmp_path / "model.onnx")
    assert refused.code == 1
    assert "ONNX Runtime computes something else than the run, by up to 0.01" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["trained"]

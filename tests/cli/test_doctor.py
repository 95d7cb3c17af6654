"""``gateflow doctor``."""

import importlib.metadata
import json
import re
import shutil

import pytest
import torch

from gateflow import cells
from gateflow.backends.cpu import toolchain

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, toolchain.LOOKED_FOR)), reason="no C++ compiler on the PATH"
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def facts(result):
    return {fact["what"]: fact for fact in json.loads(result.out)}


def test_it_finds_what_there_is(gateflow):
    result = gateflow("doctor", "--json")
    assert result.code == 0
    found = facts(result)
    # The package's own version, which a build for one device adds to.
    assert f"torch {torch.__version__.partition('+')[0]}" in found["packages"]["found"]
    assert found["threads"]["found"].startswith(f"{torch.get_num_threads()} on ")
    by_path = {what: fact["found"].split(", ") for what, fact in found.items() if what.endswith(" path")}
    assert sorted(name for listed in by_path.values() for name in listed) == sorted(cells.names())


def test_without_a_compiler_cells_run_on_the_other_paths(gateflow, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = facts(gateflow("doctor", "--json"))
    by_path = {path: found[f"{path} path"]["found"].split(", ") for path in ("vendor", "reference")}
    assert {"lstm", "gru", "elman"} <= set(by_path["vendor"])
    assert sorted(by_path["vendor"] + by_path["reference"]) == sorted(cells.names())


def test_it_says_what_is_amiss(gateflow, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    result = gateflow("doctor", "--json")
    found = facts(result)
    assert result.code == 0, "everything works without a compiler"
    assert "no C++ compiler found: CXX names 'no-such-compiler'" in found["compiler"]["remedy"]
    assert "export OMP_NUM_THREADS=" in found["threads"]["remedy"]


@needs_compiler
def test_it_builds_a_kernel_and_leaves_no_trace(gateflow, cache):
    found = facts(gateflow("doctor", "--json"))
    assert "c++" in found["compiler"]["found"] or "g++" in found["compiler"]["found"]
    assert "-std=c++17" in found["flags"]["found"]
    assert re.fullmatch(r"built and loaded in \d+\.\d s", found["trial kernel"]["found"])
    assert found["vectors"]["found"].split()[0] in ("16", "32", "64")
    assert re.fullmatch(r"avx512_bf16 (yes|no), amx_bf16 (yes|no)", found["bf16 units"]["found"])
    kept = len(list(cache.glob("*.so")))
    assert kept <= 1, "the trial of the toolchain, once per process"
    assert found["kernels"]["found"].startswith(f"{kept} kept, ")
    assert found["kernels"]["found"].endswith(f" MiB, in {cache}")
    assert not found["kernels"]["remedy"]


@needs_compiler
def test_it_says_why_kernels_are_not_kept(gateflow, cache):
    cache.mkdir()
    cache.chmod(0o777)
    result = gateflow("doctor", "--json")
    assert f"mend it by: chmod 700 {cache}" in facts(result)["kernels"]["remedy"]
    assert result.err == ""


def test_a_missing_package_is_broken_and_code_1(gateflow, monkeypatch):
    def version(name):
        if name == "accelerate":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    result = gateflow("doctor")
    assert result.code == 1
    assert "broken: pip install accelerate" in result.out

"""``gateflow doctor``."""

import importlib.metadata
import json
import shutil

import torch

from gateflow import cells


def facts(result):
    return {fact["what"]: fact for fact in json.loads(result.out)}


def test_it_finds_what_there_is(gateflow):
    result = gateflow("doctor", "--json")
    assert result.code == 0
    found = facts(result)
    assert f"torch {torch.__version__}" in found["packages"]["found"]
    assert found["threads"]["found"].startswith(f"{torch.get_num_threads()} on ")
    by_path = {path: found[f"{path} path"]["found"].split(", ") for path in ("vendor", "reference")}
    assert {"lstm", "gru", "elman"} <= set(by_path["vendor"])
    assert sorted(by_path["vendor"] + by_path["reference"]) == sorted(cells.names())


def test_it_says_what_is_amiss(gateflow, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    found = facts(gateflow("doctor", "--json"))
    assert found["compiler"]["found"] == "no C++ compiler"
    assert "export OMP_NUM_THREADS=" in found["threads"]["remedy"]


def test_a_missing_package_is_broken_and_code_1(gateflow, monkeypatch):
    def version(name):
        if name == "accelerate":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    result = gateflow("doctor")
    assert result.code == 1
    assert "broken: pip install accelerate" in result.out

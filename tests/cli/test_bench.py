"""``gateflow bench``."""

import json
from pathlib import Path

import pytest
import torch

from gateflow.backends import BACKENDS
from gateflow.backends.cuda.measured import Figure, faster_elsewhere, measured_on
from gateflow.benchmarking import tuning

SMALL = ("--batch", 2, "--steps", 3, "--input", 4, "--hidden", 5, "--rounds", 2)


def test_a_table_beside_the_eager_loop_and_torch(gateflow):
    result = gateflow("bench", "--cell", "gru", *SMALL)
    assert result.code == 0, result.err
    assert "gru on the" in result.out
    assert "B 2, T 3, I 4, H 5" in result.out
    rows = result.out.splitlines()[-3:]
    assert [row.split("  ")[0] for row in rows] == ["gateflow", "eager loop", "torch.nn.GRU"]
    assert [row.count(" ms") for row in rows] == [2, 2, 2]
    assert [row.count(" ×)") for row in rows] == [0, 2, 2]


def test_a_cell_that_torch_lacks_stands_beside_a_yardstick_and_says_so(gateflow):
    result = gateflow("bench", "--cell", "peephole_lstm", *SMALL)
    assert "torch.nn.LSTM (another cell)" in result.out
    assert result.err == ""


@pytest.mark.parametrize("cell", ["projected_lstm", "indrnn"])
def test_json_has_every_time(gateflow, cell):
    found = json.loads(gateflow("bench", "--cell", cell, *SMALL, "--json").out)
    assert (found["cell"], found["batch"], found["steps"], found["input"], found["hidden"]) == (cell, 2, 3, 4, 5)
    assert found["path"] in ("native", "vendor", "reference")
    for times in found["seconds"].values():
        assert len(times) == 3
        assert all(0 < t["fastest"] <= t["median"] <= t["slowest"] and t["rounds"] == 2 for t in times.values())


def test_a_cell_of_ones_own(gateflow):
    found = json.loads(gateflow("bench", "--cell", "benchmarks.cells:UserCell", *SMALL, "--json").out)
    assert set(found["seconds"]) == {"training", "inference"}


def test_an_unknown_cell_is_wrong_use(gateflow):
    result = gateflow("bench", "--cell", "gruu", *SMALL)
    assert (result.code, result.out) == (2, "")
    assert "did you mean gru" in result.err


@pytest.mark.parametrize("size", ["batch", "steps", "input", "hidden"])
def test_a_size_beyond_any_machine_is_refused_by_its_name(gateflow, size):
    result = gateflow("bench", f"--{size}", 10**11)
    assert result.code == 2
    assert f"--{size}" in result.err


def test_a_gpu_that_is_not_there_is_told(gateflow, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked in (["--device", "cuda"], ["--tune"]):
        result = gateflow("bench", *asked)
        assert (result.code, result.out) == (2, "")
        assert f"{' '.join(asked)} takes a GPU, and torch finds none here" in result.err


def test_a_table_of_what_torchs_kernels_and_ours_take_is_kept_for_this_card(gateflow, monkeypatch, tmp_path):
    def figures(point, device):
        assert device.type == "cuda"
        return [Figure(point.cell, "float32", point.hidden_size, point.samples, 2.0, 40.0)]

    monkeypatch.setenv("GATEFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA Toy 1")
    monkeypatch.setattr(type(BACKENDS["cuda"]), "obstacle", lambda self: None)
    monkeypatch.setattr(tuning, "POINTS", (tuning.Point("LSTM", 128, 16),))
    monkeypatch.setattr(tuning, "build", lambda points, device, processes: iter(points))
    monkeypatch.setattr(tuning, "figures", figures)
    shown = gateflow("bench", "--tune")
    assert shown.code == 0, shown.err
    assert "NVIDIA Toy 1" in shown.out
    assert shown.out.splitlines()[-1].split() == ["LSTM", "float32", "128", "16", "2.0", "40.0"]
    found = json.loads(gateflow("bench", "--tune", "--json").out)
    assert found["figures"] == [figures(tuning.POINTS[0], torch.device("cuda"))[0]._asdict()]
    assert Path(found["file"]).parent == tmp_path / "cache"
    assert measured_on("NVIDIA Toy 1").card == "NVIDIA Toy 1"
    faster_elsewhere.cache_clear()
    measured_on.cache_clear()

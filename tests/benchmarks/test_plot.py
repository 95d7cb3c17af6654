"""The picture holds a dot for each figure, hollow where torch has other equations."""

import pytest
from benchmarks import plot
from benchmarks.cases import Case
from benchmarks.measure import Figure
from benchmarks.shapes import parse

from gateflow.benchmarking.timing import Timing

pytest.importorskip("matplotlib")


def figure(cell, shape, mode, **seconds):
    times = {name: Timing(value, value, value, 3) for name, value in seconds.items()}
    return Figure(Case(cell, parse(shape), mode), "native", "", times, {}, 0.5, 0.0)


def test_names_cells_peers_and_modes(tmp_path):
    figures = [
        figure("lstm", "2/3/4/5", "training", ours=1, torch_nn=1.5),
        figure("peephole_lstm", "2/3/4/5", "training", ours=1, torch_nn=2, jax=3),
        figure("lstm", "2/3/4/5", "inference", ours=1, onnx=2),
    ]
    plot.save(figures, tmp_path / "bench.svg")
    text = (tmp_path / "bench.svg").read_text()
    for word in ("peephole_lstm", "torch.nn, another cell", "JAX lax.scan", "ONNX Runtime", "training", "inference"):
        assert word in text
    assert "eager loop" not in text


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(SystemExit, match="nothing of training or inference"):
        plot.save([figure("lstm", "1/3/4/5", "step", ours=1)], tmp_path / "bench.svg")

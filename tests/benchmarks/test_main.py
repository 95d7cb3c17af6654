"""`make bench` on shapes that take no time: who was there, who was not and why, and what reaches the files."""

import json
from functools import partial
from pathlib import Path

import pytest
from benchmarks import __main__ as bench
from benchmarks import memory, stress
from benchmarks.cases import planned
from benchmarks.cells import CELLS
from benchmarks.measure import Effort
from benchmarks.shapes import RAGGED, SHAPES, SHORT, parse


def test_one_row_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "Effort", partial(Effort, width=64))
    where = tmp_path / "bench.json"
    words = (
        "--cells lstm,user --shapes 2/3/4/5,3/1-4/4/5 --modes training --precisions fp32,bf16 --rounds 2 --seconds 0"
    )
    bench.main([*words.split(), "--peers", "torch_nn,haste", "--json", str(where)])
    found = json.loads(where.read_text())
    cases = [tuple(f["case"].values()) for f in found["figures"]]
    assert cases == [
        (cell, shape, "training", precision)
        for precision in ("fp32", "bf16")
        for shape in ("2/3/4/5", "3/1-4/4/5")
        for cell in ("lstm", "user")
    ]
    for figure in found["figures"]:
        assert set(figure["times"]) | set(figure["absent"]) >= {"ours", "torch_nn", "haste", "peak"}
        assert all(reason for reason in figure["absent"].values())
        for peer, speedup in figure["speedups"].items():
            assert speedup == figure["times"][peer]["median"] / figure["times"]["ours"]["median"]
    out = capsys.readouterr().out
    assert "torch has no layer with these equations" in out
    assert "not measured" in out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--cells gruu", "'gruu' is unknown; there are rnn, gru"),
        ("--shapes 1/2/3", "write B/T/I/H"),
        ("--modes training,fast", "'fast' is unknown"),
    ],
)
def test_wrong_use(words, part, capsys):
    with pytest.raises(SystemExit) as left:
        bench.main(words.split())
    assert part in str(left.value.code) + capsys.readouterr().err


def test_shapes_have_names_that_lead_back_to_them():
    assert all(parse(shape.name) == shape for shape in SHAPES)
    assert parse("ragged") == RAGGED in SHAPES


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_memory_of_a_step_holds_at_least_what_autograd_saves():
    """Gates, memory and state: at least six vectors per step are there at once; twenty would be a leak."""
    shape = parse("64/100/8/128")
    found = memory.peak_memory(shape, ["torch_nn", "default"])
    vector = 4 * shape.B * shape.T * shape.H
    assert 6 * vector < found["torch_nn"] < 30 * vector
    assert 2 * vector < found["default"] < 60 * vector


def test_stress_tests_name_both_sides():
    assert set(stress.subnormal(parse("2/5/3/4"), rounds=1)) == {
        f"{who}, {where}" for who in ("ours", "torch_nn") for where in stress.WHERES
    }


def test_the_plan_holds_every_cell_on_every_shape_and_bf16_where_products_are_large():
    plan = list(planned(None, None, ["training"], ["fp32", "bf16"]))
    wide = {(case.cell, case.shape) for case in plan if case.precision == "fp32"}
    assert wide == {(cell, shape) for cell in CELLS for shape in SHAPES} | {("peephole_lstm", SHORT)}
    narrow = [case for case in plan if case.precision == "bf16"]
    assert {(case.cell, case.shape.name) for case in narrow} == {
        ("lstm", "64/100/512/512"),
        ("lstm", "128/50/1024/1024"),
    }
    assert len(plan) == len(set(plan)) == len(wide) + len(narrow)

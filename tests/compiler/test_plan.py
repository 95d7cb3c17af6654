"""A plan is made once: what it costs a back end decides what is computed again, and nobody changes it afterwards."""

import dataclasses

import pytest

from gateflow.cells import LSTM, FullGRU
from gateflow.compiler import Costs, compile_cell


def listed(load, cell=FullGRU):
    return str(compile_cell(cell(3, 4)).programs(Costs(load=load)).backward)


def test_where_memory_costs_nothing_nothing_cheap_is_computed_again():
    """`1 - r` and the like are stored for later passes where a load is free, and computed again where it is dear."""
    assert listed(0).count("scratch") > listed(100).count("scratch")


def test_plans_and_passes_are_frozen():
    programs = compile_cell(LSTM(3, 4)).programs(Costs(load=3))
    before = str(programs.stream)
    joined = programs.stream.after(programs.infer)
    assert [p.ahead for p in joined.passes] == [True] * len(programs.infer.passes) + [False]
    assert str(programs.stream) == before
    assert [p.ahead for p in programs.infer.passes] == [True, False]
    with pytest.raises(dataclasses.FrozenInstanceError):
        joined.passes[0].ahead = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        joined.rows = ()

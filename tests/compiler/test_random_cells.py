"""Cells drawn at random, compiled, against the reference; `tests.compiler.fuzz` goes on for as long as asked."""

import dataclasses
from collections import Counter

import pytest
from tests.compiler.fuzz import case_of, disagreement
from tests.compiler.random_cell import OPERATION_OF, text_of
from tests.oracle import needs_compiler

pytestmark = needs_compiler

SEEDS = [3, 9, 11, 17]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_cell_is_the_reference(seed):
    case, text = case_of(seed)
    assert not disagreement(case), f"{case}\n{text}"


def test_every_operation_is_drawn():
    drawn = Counter[str]()
    for seed in range(600):
        text_of(seed, direct=False, drawn=drawn)
    assert drawn.keys() == {*OPERATION_OF.values()}


def test_the_judge_finds_a_wrong_derivative(monkeypatch):
    from gateflow.backends.cpu import kernel
    from gateflow.compiler import compiled_cell, look
    from gateflow.compiler.operations import OPERATIONS

    # a kernel belongs to its equations, and these have one already
    for module, known in (
        (look, "_captured"),
        (compiled_cell, "_cells"),
        (compiled_cell, "_storages"),
        (kernel, "_kernels"),
    ):
        monkeypatch.setattr(module, known, {})
    wrong = dataclasses.replace(OPERATIONS["tanh"], derivative=lambda g, y, a: (g * y,))
    monkeypatch.setitem(OPERATIONS, "tanh", wrong)
    case, _ = case_of(SEEDS[0])
    assert "gradient of" in disagreement(case)

"""What bounds a layer: the time in the kernels is part of the whole."""

import pytest
from benchmarks import bounds
from benchmarks.shapes import parse
from tests.oracle import needs_compiler

from gateflow.backends.cpu.arguments import Prepared


@needs_compiler
@pytest.mark.parametrize("training", [False, True])
def test_the_kernels_are_a_part_of_the_whole(training, monkeypatch):
    monkeypatch.setattr(bounds, "ROUNDS", 2)
    monkeypatch.setattr(Prepared, "__call__", Prepared.__call__)  # put back what the clock replaces
    peak, kernels, whole, in_torch = bounds.measured("LSTM", parse("4/20/16/32"), training, bounds.Clock())
    assert min(peak, in_torch) > 0
    assert 0 < kernels < whole

"""The cell's own `step` in a Python loop: what a researcher writes today."""

from __future__ import annotations

from benchmarks.cases import Problem
from benchmarks.peers import ours
from gateflow.benchmarking.peers import on_reference
from gateflow.benchmarking.timing import Call


def build(problem: Problem) -> Call:
    """The same layer, forced to the reference."""
    return on_reference(ours.build(problem))

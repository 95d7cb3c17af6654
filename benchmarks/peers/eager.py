"""The cell's own `step` in a Python loop: what a researcher writes today."""

from __future__ import annotations

from benchmarks.cases import Problem
from benchmarks.peers import ours
from gateflow.cli.rivals import on_reference
from gateflow.cli.timing import Call


def build(problem: Problem) -> Call:
    """The same layer, forced to the reference."""
    return on_reference(ours.build(problem))

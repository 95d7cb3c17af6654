"""Rules that turn measurements into findings, one family per file, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateflow.flow.finding import Finding
from gateflow.flow.rules import distance
from gateflow.flow.rules.case import Case

__all__ = ["RULES", "Case"]

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    distance.vanishing,
    distance.short_half_life,
    distance.exploding,
)

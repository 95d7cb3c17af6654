"""Rules that turn measurements into findings, one family per file, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateflow.flow.finding import Finding
from gateflow.flow.rules import clipping, course, depth, distance, precision, saturation, truncation
from gateflow.flow.rules.case import Case

__all__ = ["RULES", "Case"]

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    depth.no_gradient,
    truncation.window_too_short,
    truncation.padding_read,
    distance.vanishing,
    distance.short_half_life,
    distance.exploding,
    saturation.saturated_units,
    saturation.saturated_gates,
    saturation.dead_units,
    depth.deep_stack,
    depth.outshone_memory,
    clipping.clips_most_steps,
    clipping.heavy_tail,
    clipping.skipped_steps,
    precision.coarse_gates,
    precision.subnormals,
    course.collapsed_horizon,
    course.unstable_horizon,
    course.not_the_gradient,
)

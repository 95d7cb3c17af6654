"""Rules that turn measurements into findings, one family per file, and the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateflow.flow.case import Case
from gateflow.flow.rules import clipping, depth, distance, precision, saturation, training_curve, truncation
from gateflow.flow.rules.finding import Finding

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
    training_curve.collapsed_horizon,
    training_curve.unstable_horizon,
    training_curve.not_the_gradient,
)

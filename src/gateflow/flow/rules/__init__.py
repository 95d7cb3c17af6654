"""Rules: what the measurements mean.

A rule is a function from `Measurements` to findings; it measures nothing itself. A `Finding` (`finding.py`)
says what was found in words, with the numbers it rests on, the paper or measurement that the threshold comes
from, and the line of code that helps.

    Measurements ─► each rule of RULES ─► findings ─► sorted by severity in `diagnose` ─► table, JSON, report page

One family of causes is one file:

    depth            weights that get no gradient, deep stacks, a memory drowned by the recurrent matrix
    truncation       windows too short for the task, padding that is read
    distance         gradients that vanish or explode with the distance in time
    saturation       gates and units pressed against their limits, dead units
    clipping         what the clipper's statistics say
    precision        16-bit gates, subnormal numbers
    training_curve   what loss and horizon did over a training

Each threshold stands in the docstring of its rule with its source, a paper or a measurement of ours. Each
rule has a test with a model made sick on purpose, and healthy models must not raise it
(`tests/flow/test_diagnose.py`).

*Boundary:* no rule runs a model. *Invariant:* a finding that is not "healthy" has evidence, a source and a
remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateflow.flow.measurements import Measurements
from gateflow.flow.rules import clipping, depth, distance, precision, saturation, training_curve, truncation
from gateflow.flow.rules.finding import SEVERITIES, Finding, same_lines

__all__ = ["RULES", "SEVERITIES", "Finding", "same_lines"]

# The order in which findings of one severity are listed: first what cuts the
# gradient off altogether, then what weakens it, and what happened in training last.
RULES: tuple[Callable[[Measurements], Iterator[Finding]], ...] = (
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

"""What the clipper's own statistics say."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gateflow.flow.measurements import Measurements
from gateflow.flow.rules.finding import Finding

__all__ = ["clips_most_steps", "heavy_tail", "skipped_steps"]

_PASCANU = "Pascanu, Mikolov, Bengio (2013), algorithm 1 and section 3.2. arXiv:1211.5063"


def clips_most_steps(measured: Measurements) -> Iterator[Finding]:
    """A warning where more than half of the steps were clipped.

    Not a fault by itself: runs measured here that learned were clipped on 40 to 90 % of their steps. But the threshold
    then sets the length of the step, and the learning rate means something else than it says.
    """
    share, middle = measured.clipping.get("clipped_share", math.nan), measured.clipping.get("norm_p50", math.nan)
    if not share > 0.5:
        return
    limit = measured.clipping.get("threshold", math.nan)
    says = f"{share:.0%} of the steps were clipped: the threshold, not the gradient, sets their length."
    says += f" Half of the norms are above {middle:.3g}." if math.isfinite(middle) else ""
    evidence = {"clipped share": share, "median norm": middle, "threshold": limit}
    remedy = "If the loss no longer falls, raise the threshold to a few times the usual norm, or lower the rate."
    yield Finding("clipping", "warning", "", says, evidence, _PASCANU, remedy, *_clip_at(4 * middle))


def heavy_tail(measured: Measurements) -> Iterator[Finding]:
    """A warning where one gradient in a hundred is more than ten times as large as the median, and none is clipped."""
    middle, high = (measured.clipping.get(f"norm_p{p}", math.nan) for p in (50, 99))
    if not high > 10 * middle > 0 or measured.clipping.get("clipped_share", 0.0) > 0.005:
        return
    says = (
        f"One gradient in a hundred is {high / middle:.0f} times as large as the median, {middle:.3g}, and unclipped."
    )
    evidence = {"median norm": middle, "99th percentile": high, "ratio": high / middle}
    remedy = "Clip at a few times the median norm."
    yield Finding("heavy-tail", "warning", "", says, evidence, _PASCANU, remedy, *_clip_at(4 * middle))


def skipped_steps(measured: Measurements) -> Iterator[Finding]:
    """A warning where any step was skipped because its gradient was not finite, a problem from one in ten on."""
    skipped, steps = measured.clipping.get("skipped", 0.0), measured.clipping.get("steps", 0.0)
    if not skipped > 0:
        return
    says = f"{skipped:.0f} of {steps:.0f} steps had NaN or infinite gradients and were skipped."
    evidence = {"skipped": skipped, "steps": steps}
    remedy = "Find where the first one arises; it names the layer, the step and the gate."
    severity = "problem" if skipped > 0.1 * steps else "warning"
    yield Finding("skipped-steps", severity, "", says, evidence, _PASCANU, remedy, "gateflow.flow.Monitor(model)")


def _clip_at(norm: float) -> tuple[str, str]:
    # Pascanu et al. set the threshold to between half and ten
    # times the usual norm; callers give four times the median.
    flag = f"{norm:.2g}" if math.isfinite(norm) else "auto"
    threshold = flag if math.isfinite(norm) else "'auto'"
    return f"gateflow.remedies.NormClipper(model, threshold={threshold})", f"--clip {flag}"

"""What the training curve adds: loss and horizon over the updates of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateflow.flow.measurements import Measurements, flat_loss
from gateflow.flow.rules import depth, saturation
from gateflow.flow.rules.finding import Finding, chrono

__all__ = ["collapsed", "collapsed_horizon", "not_the_gradient", "unstable_horizon"]

# Rules by which a loss that stands still may be laid at the gradient all the same.
_MAY_BE = (depth.no_gradient, depth.deep_stack, saturation.saturated_units)

_OWN = "Own measurement: adding and temporal order over 100 steps, see docs/results.md of gateflow"


def not_the_gradient(measured: Measurements) -> Iterator[Finding]:
    """A warning where the loss stands still though more than 1 % of the gradient is left at the lag.

    Not where a layer gets next to none of it, or is saturated: then it may be the gradient.
    """
    losses = measured.series("loss")
    if not flat_loss(losses) or measured.left <= 0.01 or any(found for rule in _MAY_BE for found in rule(measured)):
        return
    says = f"The loss stands still ({losses[0]:.3g} to {losses[-1]:.3g}), and {measured.left.told} "
    says += f"{measured.lag} steps back: it is not for want of reach."
    evidence = {"first loss": losses[0], "last loss": losses[-1], "left at lag": measured.left}
    source = "Greff, Srivastava, Koutník, Steunebrink, Schmidhuber (2017). arXiv:1503.04069"
    remedy = "Look at the learning rate first, then at the number of units, the batch, and the data."
    yield Finding("not-the-gradient", "warning", "", says, evidence, source, remedy, "", "--lr 0.002")


def collapsed_horizon(measured: Measurements) -> Iterator[Finding]:
    """A warning where the horizon has fallen to a third of what it was at the start, from 10 steps or more.

    Measured here: on the adding task's plateau a forget bias of 2 and orthogonal matrices lose their horizon within 50
    updates (99 to 24 steps, 84 to 24); chrono keeps it, and learns first.
    """
    horizons = measured.series("horizon")
    third = max(len(horizons) // 3, 1)
    if len(horizons) < 3:
        return
    # The longest of the first third: the horizon of a fresh model may still open in the first updates.
    first, now = max(horizons[:third]), sum(horizons[-third:]) / third
    if first < 10 or now > first / 3:
        return
    says = (
        f"The horizon was {first:.0f} steps at the start and is {now:.0f} now: training closes what the weights opened."
    )
    evidence = {"horizon at the start": first, "horizon now": now}
    remedy = "Begin with chrono, the gated start that kept its horizon; a smaller learning rate may help too."
    where = measured.farthest.name
    yield Finding("collapsed-horizon", "warning", where, says, evidence, _OWN, remedy, *chrono(measured.lag))


def collapsed(horizons: Sequence[int]) -> bool:
    """Whether the last two are a third or less of the longest, and that was 10 steps or more.

    Example:
        >>> collapsed([34, 30, 11, 9]), collapsed([34, 9, 30]), collapsed([9, 1, 1])
        (True, False, False)
    """
    return len(horizons) > 2 and max(horizons) >= 10 and 3 * max(horizons[-2:]) <= max(horizons)


def unstable_horizon(measured: Measurements) -> Iterator[Finding]:
    """A warning where the horizon has fallen twice or more from near its largest to below a quarter of it.

    Measured here: a plain network with orthogonal matrices spikes to 99 steps and falls to 6, and never learns.
    """
    horizons = measured.series("horizon")
    top, falls, high = max(horizons, default=0.0), 0, False
    # Counted with hysteresis, up at 0.8 of the top and down at
    # a quarter, so that noise around one of them is no fall.
    for horizon in horizons:
        falls += high and horizon < top / 4
        high = horizon > 0.8 * top or (high and horizon >= top / 4)
    if top < 10 or falls < 2:
        return
    says = f"The horizon rises to {top:.0f} steps and falls to a quarter of it, {falls} times: training is unstable."
    evidence = {"largest horizon": top, "falls": float(falls)}
    remedy = "Lower the learning rate and clip; more memory is not what is missing."
    code, options = "gateflow.remedies.NormClipper(model, threshold='auto')", "--lr 0.002 --clip auto"
    yield Finding("unstable-horizon", "warning", "", says, evidence, _OWN, remedy, code, options)

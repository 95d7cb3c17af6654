"""The report in a sentence, in a few figures in large type, and in a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gateflow.flow.report.data import ReportData

__all__ = ["Fact", "facts", "subtitle", "table", "verdict"]

# Kinds of layers in the subtitle; a model with more is one that nobody wants listed in a sentence.
_NAMED = 4


@dataclass(frozen=True)
class Fact:
    """One figure, what it is called, and what it means."""

    value: str
    name: str
    means: str


def subtitle(report: ReportData) -> str:
    """What was measured."""
    c = report.context
    layers = [
        _layers(*kind, list(titles)) for kind, titles in groupby(c["hidden_sizes"], key=lambda title: _kind(c, title))
    ]
    rest = f" and {len(layers) - _NAMED} more" if len(layers) > _NAMED else ""
    batch = f"{c['rows']} sequence{'' if c['rows'] == 1 else 's'} of {_steps(c['steps'])}"
    measured = f"Measured on {batch}, {c['dtype']}, loss {c['loss']:.4g}, in {c['seconds']:.1f} seconds."
    return f"{', '.join(layers[:_NAMED])}{rest}. {measured}"


def _kind(context: Mapping[str, Any], title: str) -> tuple[str, int]:
    return context["cells"][title], context["hidden_sizes"][title]


def _layers(cell: str, size: int, titles: list[str]) -> str:
    named = titles[0] if len(titles) == 1 else f"{titles[0]} to {titles[-1]}"
    return f"{named}: {cell} of {size} units{'' if len(titles) == 1 else ' each'}"


def verdict(report: ReportData) -> str:
    """How far it reaches, and how far it should."""
    # "At least" where the sequences end before the gradient does.
    horizon, needed = report.reach.horizon, report.context["needed_lag"]
    whole = any(layer.open for layer in report.reach.layers.values() if layer.horizon == horizon)
    said = f"The gradient reaches {'at least ' if whole else ''}{_steps(horizon)} back"
    if needed:
        return f"{said}{', and' if horizon < needed else ';'} the task needs {needed}."
    return f"{said}, as far as these sequences go." if whole else f"{said}."


def facts(report: ReportData) -> list[Fact]:
    """The figures that everything else explains."""
    c = report.context
    farthest = max(report.reach.layers.values(), key=lambda layer: layer.horizon)
    of_many = f", in {farthest.name}, where it reaches farthest" if len(report.reach.layers) > 1 else ""
    means = f"the lag at which 1 % of the gradient is left{of_many}"
    found = [Fact(_steps(report.reach.horizon), "horizon", means)]
    if c["needed_lag"]:
        found.append(Fact(_steps(c["needed_lag"]), "needed lag", _best(report, c["needed_lag"])))
    if c["window"]:
        found.append(Fact(_steps(c["window"]), "training window", "across its border no gradient is sent"))
    if report.lyapunov:
        slowest = max(report.lyapunov.layers.values(), key=lambda layer: layer.largest)
        regime = slowest.regime.replace("neither", "neither vanishing nor exploding")
        found.append(Fact(f"{slowest.largest:+.3f}", "largest exponent", f"per step: {regime}"))
    if report.terms:
        means = "relative error of the terms' sum against autograd's own gradient"
        found.append(Fact(f"{report.terms.error:.0e}", "self-check", means))
    return found


def table(report: ReportData) -> list[list[str]]:
    """A heading, and a line per layer and direction."""
    needed = report.context["needed_lag"]
    # A set, for the needed lag may be 1 or 10 itself.
    lags = sorted({1, 10, needed or 100})
    rows = [["layer", "horizon", "half-life", *(f"left at {lag}" for lag in lags)]]
    for layer in report.reach.layers.values():
        half = f"{layer.decay.half_life:.1f}" if math.isfinite(layer.decay.half_life) else "–"
        horizon = f"{'≥ ' if layer.open else ''}{layer.horizon}"
        rows.append([layer.name, horizon, half, *(str(layer.left_at(lag)) for lag in lags)])
    return rows


def _best(report: ReportData, lag: int) -> str:
    known = [left for layer in report.reach.layers.values() if not math.isnan(left := layer.left_at(lag))]
    return f"{max(known).told} there" if known else "farther than any gradient here is sent"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"

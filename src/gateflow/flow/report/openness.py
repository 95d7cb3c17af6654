"""What the gates do over the tokens, and for how long each unit remembers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gateflow.flow.gates import LayerGates
from gateflow.flow.report.figure import Figure, axis, colour, line_up, rounded

__all__ = ["half_lives", "openness"]

# Two ticks a decade: half-lives often lie within one, which would have a single tick otherwise.
_TICKS = [a * 10.0**k for k in range(-2, 6) for a in (1, 3)]


def openness(layer: LayerGates, labels: Sequence[str]) -> Figure:
    """Each gate's mean size over units, step by step: of the first row if it has tokens, else of the batch."""
    steps, labelled = (_length(layer), ("xaxis",)) if labels else (None, ())
    traces = [
        {
            "type": "scatter",
            "name": name,
            "y": rounded(activation.values[:steps, : 1 if labels else None].abs().nanmean((1, 2)), 3),
            "mode": "lines",
            "line": {"color": colour(k), "width": 2},
            "hovertemplate": "%{y:.2f}",
        }
        for k, (name, activation) in enumerate(layer.activations.items())
    ]
    bounded = all(activation.kind != "relu" for activation in layer.activations.values())
    span: dict[str, Any] = {"range": [-0.02, 1.02]} if bounded else {"rangemode": "tozero"}
    layout = {"xaxis": axis("time step"), "yaxis": axis("mean over units", **span), "hovermode": "x unified"}
    return Figure(layer.name, traces, {**layout, "showlegend": True}, labels=labels[:steps], labelled=labelled)


def _length(layer: LayerGates) -> int:
    """Steps of the first row: what follows is padding, and NaN."""
    there = next(iter(layer.activations.values())).values[:, 0].isfinite().any(-1).nonzero()
    return int(there[-1]) + 1 if len(there) else 0


def half_lives(layer: LayerGates, needed_lag: int | None) -> Figure | None:
    """How many units forget half within how many steps; none where no gate keeps."""
    if layer.half_lives is None:
        return None
    logs = layer.half_lives.abs().nan_to_num(0.0, posinf=1e5).clamp(0.05, 1e5).log10()  # a gate of 1 never forgets
    low, high = math.floor(4 * float(logs.min())) / 4, math.ceil(4 * float(logs.max()) + 1e-6) / 4
    # Sixteen bins a decade, edges on quarters of a decade, so that two layers can be compared.
    bins = max(8, min(40, round(16 * (high - low))))
    counts = torch.histc(logs.float(), bins, low, high)
    edges = torch.logspace(low, high, bins + 1)
    spans = [f"{a:.3g} to {b:.3g} steps" for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    bars = {"x": rounded((edges[:-1] * edges[1:]).sqrt()), "y": rounded(counts), "width": rounded(edges.diff())}
    trace = {"type": "bar", **bars, "customdata": spans, "marker": {"color": colour(0)}}
    trace["hovertemplate"] = "%{y} units: %{customdata}<extra></extra>"
    x = axis("half-life in steps", type="log", tickvals=_TICKS)
    layout = {"xaxis": x, "yaxis": axis("units"), "bargap": 0.05}
    if needed_lag:
        # On a logarithmic axis plotly takes a shape's place as it is and a label's as its logarithm.
        shape, label = line_up(needed_lag, f"needed: {needed_lag}", left=True)
        layout |= {"shapes": [shape], "annotations": [{**label, "x": math.log10(needed_lag)}]}
    return Figure(layer.name, [trace], layout)

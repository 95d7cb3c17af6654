"""What clipping did while the model was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateflow.flow.report.figure import Figure, axis, colour

__all__ = ["clipping"]


def clipping(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Gradient norm, and share of updates that were clipped, over training; none without records of them."""
    # Records of validation and of the monitor have no such figure.
    seen = [record for record in records if record.get("clipped") is not None]
    if not seen:
        return None
    steps = [record["step"] for record in seen]
    lines = {"gradient norm (median)": ("gradient_norm", "y", 0), "updates clipped": ("clipped", "y2", 1)}
    traces = [
        {
            "type": "scatter",
            "name": name,
            "x": steps,
            "y": [record.get(key) for record in seen],
            "yaxis": place,
            "mode": "lines",
            "line": {"color": colour(k), "width": 2},
            "hovertemplate": "%{y:.0%}" if key == "clipped" else "%{y:.3g}",
        }
        for name, (key, place, k) in lines.items()
    ]
    # Fixed at 0 to 1, so that a training in which next to nothing is clipped looks like one.
    right = axis(
        "updates clipped",
        tickformat=".0%",
        tickvals=[0, 0.25, 0.5, 0.75, 1],
        range=[0, 1.02],
        overlaying="y",
        side="right",
        showgrid=False,
    )
    layout = {"xaxis": axis("update"), "yaxis": axis("gradient norm", rangemode="tozero"), "yaxis2": right}
    return Figure("", traces, {**layout, "showlegend": True, "hovermode": "x unified"})

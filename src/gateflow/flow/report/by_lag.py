"""Figures by lag as lines."""

from __future__ import annotations

import math

from gateflow.flow.by_lag import ByLag
from gateflow.flow.report.figure import Figure, axis, colour, rounded

__all__ = ["by_lag"]


def by_lag(found: ByLag) -> Figure:
    """One line for each name."""
    traces = []
    for k, (name, values) in enumerate(found.lines.items()):
        # A logarithm has no place for zero; what is not there is a gap.
        heights = values.masked_fill(values <= 0, math.nan) if found.scale == "log" else values
        shown = {"x": list(range(len(values))), "y": rounded(heights), "mode": "lines+markers", "connectgaps": False}
        look = {"line": {"color": colour(k), "width": 2.5}, "marker": {"color": colour(k), "size": 4}}
        words = "%{y:.2%} at %{x} steps back"
        traces.append({"type": "scatter", "name": name, "hovertemplate": words, **shown, **look})
    if found.scale == "log":
        y = axis(found.unit, type="log", exponentformat="power", dtick=1)
    else:
        y = axis(found.unit, tickformat=".0%", zeroline=True)
    layout = {"xaxis": axis("lag: steps back"), "yaxis": y, "showlegend": len(traces) > 1}
    return Figure("", traces, layout)

"""The Lyapunov spectrum as a picture."""

from __future__ import annotations

from gateflow.flow.lyapunov import Lyapunov
from gateflow.flow.report.figure import Figure, axis, colour, line_across, rounded

__all__ = ["spectrum"]


def spectrum(found: Lyapunov) -> Figure:
    """The largest exponents of each layer, in their order, and zero."""
    traces = [
        {
            "type": "scatter",
            "name": layer.name,
            "x": list(range(1, len(layer.exponents) + 1)),
            "y": rounded(layer.exponents),
            "mode": "lines+markers",
            "line": {"color": colour(k), "width": 1.5},
            "marker": {"color": colour(k), "size": 9},
            "hovertemplate": "direction %{x}: %{y:.4f} per step",
        }
        for k, layer in enumerate(found.layers.values())
    ]
    shape, label = line_across(0.0, "0: neither fades nor grows", below=True)
    # Zero has to be seen, far above the spectrum as it may be: the sign is what the figure is about.
    y = axis("exponent, per step", rangemode="tozero")
    layout = {"xaxis": axis("direction, slowest to fade first", dtick=1), "yaxis": y}
    return Figure("", traces, layout | {"shapes": [shape], "annotations": [label], "showlegend": len(traces) > 1})

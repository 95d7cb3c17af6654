"""The training curve: horizon and loss over the updates of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateflow.flow.report.figure import Figure, axis, colour

__all__ = ["training_curve"]


def training_curve(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Loss, and the horizon as a `Monitor` took it down; none without two measurements of it."""
    # One point is no curve.
    if sum(record.get("horizon") is not None for record in records) < 2:
        return None
    traces = [
        _line("horizon", records, "lines+markers", 0, "%{y} steps"),
        _line("loss", records, "lines", 1, "%{y:.3f}"),
    ]
    traces[1] |= {"yaxis": "y2"}
    right = axis("loss", tickformat=".3g", overlaying="y", side="right", showgrid=False)
    left = axis("horizon (steps)", rangemode="tozero")
    layout = {"xaxis": axis("update"), "yaxis": left, "yaxis2": right, "showlegend": True, "hovermode": "x unified"}
    return Figure("", traces, layout)


def _line(name: str, records: Sequence[Mapping[str, Any]], mode: str, k: int, hover: str) -> dict[str, Any]:
    # Each line by its own records: losses are written at every
    # interval, horizons when the monitor's budget allowed one.
    seen = [record for record in records if isinstance(record.get(name), int | float)]
    return {
        "type": "scatter",
        "name": name,
        "x": [record["step"] for record in seen],
        "y": [record[name] for record in seen],
        "mode": mode,
        "line": {"color": colour(k), "width": 2},
        "hovertemplate": hover,
    }

"""How the gradient fades with the lag, and from which lags a weight's gradient comes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gateflow.flow.reach import LayerReach, Reach
from gateflow.flow.report.figure import Figure, axis, colour, line_across, line_up, rounded
from gateflow.flow.terms import LayerTerms, Terms

__all__ = ["decay", "shares"]


def decay(reach: Reach, needed_lag: int | None, window: int | None) -> Figure:
    """One line per layer and direction; a dot where each crosses 1 %."""
    layers = list(reach.layers.values())
    traces = [trace for k, layer in enumerate(layers) for trace in (_line(layer, k), _horizon(layer, k))]
    if not reach.sampling.exact:
        traces = [_band(layer, k) for k, layer in enumerate(layers)] + traces
    marks = [line_across(0.01, "1 %: the horizon")]
    marks[0][1]["y"] = -2  # the place of a label on a logarithmic axis is its logarithm
    # A needed lag beyond all sequences is drawn all the same: that it lies outside is what there is to see.
    farthest = max([len(layer.decay.values) - 1 for layer in layers] + [needed_lag or 0])
    up = {f"needed: {needed_lag}": (needed_lag, 1.0), f"training window: {window}": (window, 0.92)}
    marks += [line_up(x, words, y, x > farthest / 2) for words, (x, y) in up.items() if x]
    low = min(float(layer.decay.values.nan_to_num(1).min()) for layer in layers)
    # Not lower than ten times the floor, below which a mean is of
    # what was not followed; and some room for the lines' ends.
    bottom = math.floor(math.log10(max(low, 10 * min(layer.decay.floor for layer in layers)))) - 0.2
    top = max(float(layer.decay.values.nan_to_num(0).max()) for layer in layers)
    y = axis(
        "share of the gradient left", type="log", range=[bottom, math.log10(top) + 0.2], exponentformat="power", dtick=1
    )
    layout = {"xaxis": axis("lag: steps back in time", range=[-0.01 * farthest, 1.02 * farthest]), "yaxis": y}
    return Figure("", traces, layout | _marked(marks) | {"showlegend": len(layers) > 1})


def shares(terms: Terms) -> list[Figure]:
    """For each layer: shares of the gradient of its recurrent weight by distance; signed too if all are known."""
    return [_by_distance(layer, terms.sampling.exact) for layer in terms.layers.values()]


def _line(layer: LayerReach, k: int) -> dict[str, Any]:
    # As far as the gradient was followed; half as much again,
    # for a mean of logarithms never reaches the floor itself.
    end = layer.decay.horizon(1.5 * layer.decay.floor) + 1
    values = rounded(layer.decay.values[:end])
    shown = {"x": list(range(end)), "y": values, "mode": "lines", "line": {"color": colour(k), "width": 2.5}}
    words, shown["text"] = "%{text} after %{x} steps", [str(layer.left_at(lag)) for lag in range(end)]
    return {"type": "scatter", "name": layer.name, "legendgroup": layer.name, "hovertemplate": words, **shown}


def _horizon(layer: LayerReach, k: int) -> dict[str, Any]:
    value = layer.left_at(layer.horizon)
    words = f"{layer.name}: horizon {'at least ' * layer.open}{layer.horizon} steps<extra></extra>"
    point = {"x": [layer.horizon], "y": rounded([value]), "mode": "markers", "hovertemplate": words}
    look = {"marker": {"color": colour(k), "size": 11, "line": {"color": "var(--card)", "width": 2}}}
    return {"type": "scatter", "legendgroup": layer.name, "showlegend": False, **point, **look}


def _band(layer: LayerReach, k: int) -> dict[str, Any]:
    """Two standard errors either way: what the sampling of targets leaves open."""
    end = layer.decay.horizon(1.5 * layer.decay.floor) + 1
    values, factor = layer.decay.values[:end], (2 * layer.decay.errors[:end]).exp()
    x = [*range(end), *reversed(range(end))]
    y = rounded(torch.cat([values * factor, (values / factor).flip(0)]))
    look = {"fill": "toself", "fillcolor": colour(k), "opacity": 0.2, "mode": "none", "hoverinfo": "skip"}
    return {"type": "scatter", "x": x, "y": y, "legendgroup": layer.name, "showlegend": False, **look}


def _by_distance(layer: LayerTerms, exact: bool) -> Figure:
    names, sizes = _in_powers_of_two(layer.norms_by_lag)
    bars = {"sizes of the terms": sizes}
    # Signed shares make 1 over all targets; those of a sample could be anything.
    if exact:
        bars["with their signs: what remains in the sum"] = _in_powers_of_two(layer.shares_by_lag)[1]
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": names,
            "y": rounded(values),
            "marker": {"color": colour(k)},
            "hovertemplate": "%{y:.2%} from %{x} steps back",
        }
        for k, (name, values) in enumerate(bars.items())
    ]
    layout = {
        "xaxis": axis("distance |t − k| in steps", type="category"),
        "yaxis": axis("share", tickformat=".0%", zeroline=True),
        "barmode": "group",
        "showlegend": exact,
    }
    return Figure(f"{layer.name}, {layer.weight}", traces, layout)


def _in_powers_of_two(values: Tensor) -> tuple[list[str], list[float]]:
    """Sums over the distances 0, 1, 2 to 3, 4 to 7, 8 to 15 …"""
    # The decay is long and thin: equal steps of the logarithm give each bar about as much to show.
    edges = [0, 1] + [2**k for k in range(1, 64) if 2**k < len(values)]
    pairs = list(zip(edges, [*edges[1:], len(values)], strict=True))
    pairs = [(a, min(b, len(values))) for a, b in pairs if a < len(values)]
    names = [str(a) if b - a == 1 else f"{a} to {b - 1}" for a, b in pairs]
    return names, [float(values[a:b].sum()) for a, b in pairs]


def _marked(marks: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    return {"shapes": [shape for shape, _ in marks], "annotations": [label for _, label in marks]}

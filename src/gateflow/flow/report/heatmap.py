"""Reach as a picture: what is left of the loss at step `t` when its gradient arrives at step `k`."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.flow.dependency import Dependency
from gateflow.flow.reach import LayerReach
from gateflow.flow.report.figure import Figure, axis, rounded

__all__ = ["grows", "heatmap"]

# In powers of ten. Below 1e-8 everything is dark, the floor of float32 being
# 1.2e-7; 0.05 is 12 % more than was sent, which no rounding makes. Up to eight
# rows each has a tick of its own: a loss at the last step alone is one row.
_LOWEST, _GROWS, _FEW = -8.0, 0.05, 8
# Letters of a token up to which it stands upright under the axis, as in `page.js`.
_UPRIGHT = 2
# Viridis up to "all of it", by matplotlib's anchors; beyond it, growth, orange to red.
_LEFT = ["#440154", "#472c7a", "#3b518b", "#2c718e", "#21908d", "#27ad81", "#5cc863", "#aadc32", "#fde725"]
_GROWN = ["#fb9a29", "#d7301f", "#7f0000"]
_SHARES = {0: "all", -1: "10 %", -2: "1 %", -4: "1e-4", -6: "1e-6", -8: "1e-8", 2: "× 100", 4: "× 1e4", 8: "× 1e8"}


def heatmap(layer: LayerReach, labels: Sequence[str], side: int, dependency: Dependency | None = None) -> Figure:
    """Reach in one layer and direction, as shares of the norm at the target's own step; at most `side²` cells.

    Of the first row and no farther than it goes where its tokens are known, else the mean over the batch.
    """
    rows, steps = (slice(0, 1), len(labels)) if labels else (slice(None), layer.norms.shape[1])
    targets = [t for t in layer.targets if t < steps or not labels]
    # At most `side` blocks across and down: a browser draws
    # 65,000 cells at once, and not the millions of a long text.
    n = len(targets)
    block = max(1, math.ceil(steps / side)), max(1, math.ceil(n / side))
    pictures = {"full state": layer.norms} | (layer.parts if len(layer.parts) > 1 else {})
    drawn = {name: _shares(norms, layer, rows)[:n, :steps] for name, norms in pictures.items()}
    shares = {name: _averaged(values, *block) for name, values in drawn.items()}
    shape = "square" if 4 * n > steps else "wide"
    labelled = ("xaxis", "yaxis") if block == (1, 1) and labels else ()
    # Under the title of the axis; words along it are turned, and need room for their letters.
    turned = bool(labelled) and any(len(label) > _UPRIGHT for label in labels)
    colours = _colours(shares["full state"], layer, (-0.16 if shape == "square" else -0.3) - 0.1 * turned)
    places = {"x": _centres(list(range(steps)), block[0]), "y": _centres(targets, block[1])}
    traces = [
        {"type": "heatmap", "name": name, "z": rounded(z, 3), **places, **colours, "visible": k == 0}
        for k, (name, z) in enumerate(shares.items())
    ]
    # Drawn over the picture: an empty cell could be taken for one where the gradient has vanished.
    hatched = [_hatched(*corners) for corners in _cut_off(layer)]
    ticks = {"tickvals": places["y"]} if len(places["y"]) <= _FEW else {}
    axes = {"xaxis": axis("state after step k"), "yaxis": axis("loss at step t", autorange="reversed", **ticks)}
    if labels and dependency:
        axes |= {"shapes": _crossing(dependency), "annotations": _named(dependency, labels)}
    note = "" if block == (1, 1) else f"Each cell is the mean of {block[0]} × {block[1]} steps: {steps} steps in all."
    labels, choices = labels if block == (1, 1) else (), list(shares) if len(shares) > 1 else ()
    return Figure(layer.name, [*traces, *hatched], axes, note, shape, labels, labelled, choices)


def grows(layer: LayerReach) -> bool:
    """Whether more arrives somewhere than was sent."""
    return float(_shares(layer.norms, layer, slice(None)).nan_to_num(0).max()) > _GROWS


def _shares(norms: Tensor, layer: LayerReach, rows: slice) -> Tensor:
    """`[n, T]`, log10 of the share of the full norm at the own step: the mean over rows, as in the decay by lag."""
    # Of the full state's norm for the parts as well, so that `h` and `c` can be compared by eye.
    at = layer.at[:, rows]
    own = layer.norms[..., rows].gather(1, at.clamp(min=0)[:, None]).double()
    logs = (norms[..., rows].double() / own).clamp(min=layer.decay.floor).log10()
    return torch.where((at >= 0)[:, None] & (own > 0), logs, torch.nan).nanmean(-1).cpu()


def _crossing(dependency: Dependency) -> list[dict[str, Any]]:
    """Two dashed lines, which meet where the gradient of the effect arrives at the cause."""
    k, t = dependency.cause, dependency.effect
    look = {"type": "line", "line": {"color": "var(--pair)", "width": 2, "dash": "dash"}}
    return [{**look, "x0": k, "x1": k, "y0": k, "y1": t}, {**look, "x0": k, "x1": t, "y0": t, "y1": t}]


def _named(dependency: Dependency, labels: Sequence[str]) -> list[dict[str, Any]]:
    """What the two are and which tokens; above the diagonal, where nothing is drawn."""
    (k, cause), (token, effect) = dependency.named.items()
    places = [(k, k, f"{cause} “{labels[k]}”"), (dependency.effect, dependency.effect, f"{effect} “{labels[token]}”")]
    look = {"showarrow": False, "xanchor": "left", "yanchor": "bottom", "bgcolor": "var(--card)"}
    look["font"] = {"color": "var(--pair)", "size": 12}
    found = [{"x": x, "y": y, "text": html.escape(text, quote=False), **look} for x, y, text in places]
    # The later one would leave the picture on the right.
    found[1] |= {"xanchor": "right"}
    return found


def _averaged(values: Tensor, across: int, down: int) -> Tensor:
    """Means of blocks of `down × across` values; NaN only where there is none."""
    # Padded with NaN up to whole blocks, which a mean without NaN does not see.
    more = (0, -values.shape[1] % across, 0, -values.shape[0] % down)
    padded = torch.nn.functional.pad(values, more, value=torch.nan)
    return padded.unflatten(1, (-1, across)).unflatten(0, (-1, down)).nanmean((1, 3))


def _centres(places: list[int], block: int) -> list[float]:
    groups = (places[k : k + block] for k in range(0, len(places), block))
    return [(group[0] + group[-1]) / 2 for group in groups]


def _colours(shares: Tensor, layer: LayerReach, below: float) -> dict[str, Any]:
    """Scale and legend, from the floor to all of it, or beyond where the gradient grows."""
    low = max(_LOWEST, math.floor(math.log10(layer.decay.floor)))
    most = float(shares.nan_to_num(low).max())
    high = float(math.ceil(most)) if most > _GROWS else 0.0
    # Where on the scale "all of it" lies: viridis ends there, whatever the growth beyond.
    whole = -low / (high - low)
    scale = [[whole * k / (len(_LEFT) - 1), c] for k, c in enumerate(_LEFT)]
    scale += [[whole + (1 - whole) * (k + 1) / len(_GROWN), c] for k, c in enumerate(_GROWN)] if high else []
    ticks = sorted(tick for tick in _SHARES if low <= tick <= high)
    bar = {"orientation": "h", "y": below, "yanchor": "top", "thickness": 12, "len": 1.0, "outlinewidth": 0}
    bar |= {"tickvals": ticks, "ticktext": [_SHARES[tick] for tick in ticks]}
    return {"zmin": low, "zmax": high, "colorscale": scale, "colorbar": bar, "hoverongaps": False}


def _cut_off(layer: LayerReach) -> list[tuple[int, int, int, int]]:
    """Rectangles `(k, past k, t, past t)` of pairs that truncation keeps apart."""
    apart, borders, found = layer.cut.any(-1).cpu(), [0, *layer.cuts, layer.norms.shape[1]], []
    for first, end in itertools.pairwise(borders):
        rows = apart[:, first:end].all(1).nonzero()[:, 0].tolist() if end > first else []
        if rows:
            found.append((first, end, layer.targets[rows[0]], layer.targets[rows[-1]] + 1))
    return found


def _hatched(k: int, past_k: int, t: int, past_t: int) -> dict[str, Any]:
    left, right, top, bottom = k - 0.5, past_k - 0.5, t - 0.5, past_t - 0.5
    outline = {"x": [left, right, right, left, left], "y": [top, top, bottom, bottom, top], "mode": "lines"}
    pattern = {"shape": "/", "fgcolor": "var(--mark)", "bgcolor": "rgba(0,0,0,0)", "size": 8, "solidity": 0.12}
    look = {"fill": "toself", "fillpattern": pattern, "line": {"color": "var(--mark)", "width": 1}}
    words = {"name": "cut: nothing is sent here", "text": "cut: nothing is sent here", "hoveron": "fills"}
    return {"type": "scatter", **outline, **look, **words, "hoverinfo": "text", "showlegend": False}

"""One picture: how many times as fast as each peer, a dot per shape, a bar at the geometric mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cells import CELLS
from benchmarks.measure import Figure
from gateflow.benchmarking.timing import geometric_mean

NAMES = {"torch_nn": "torch.nn", "eager": "eager loop", "jax": "JAX lax.scan", "onnx": "ONNX Runtime"}
COLOURS = dict(zip(NAMES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7"), strict=True))  # told apart by all eyes
MODES = ("training", "inference")


def save(figures: Sequence[Figure], path: Path) -> None:
    """Writes the picture; the ending of `path` (svg, png, pdf) decides the form."""
    from matplotlib import pyplot

    # Without a display: it is drawn on servers.
    pyplot.switch_backend("agg")
    # Text stays text in the picture, and can be searched.
    pyplot.rcParams |= {"svg.fonttype": "none", "font.size": 9}
    fp32 = [f for f in figures if f.case.precision == "fp32" and f.case.mode in MODES]
    modes = [mode for mode in MODES if any(f.case.mode == mode for f in fp32)]
    cells = [cell for cell in CELLS if any(f.case.cell == cell for f in fp32)]
    if not modes:
        raise SystemExit("--plot: nothing of training or inference in fp32 was measured; measure one of them")
    picture, panels = pyplot.subplots(1, len(modes), sharey=True, squeeze=False, figsize=(4.6 * len(modes), 4.4))
    for panel, mode in zip(panels[0], modes, strict=True):
        _panel(panel, mode, cells, [f for f in fp32 if f.case.mode == mode])
    handles, labels = _legend(panels[0])
    picture.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    picture.set_layout_engine("constrained")
    picture.savefig(path, dpi=150)
    pyplot.close(picture)


def _panel(panel: Any, mode: str, cells: Sequence[str], figures: Sequence[Figure]) -> None:
    for row, cell in enumerate(cells):
        for lane, peer in enumerate(NAMES):
            speeds = [s for f in figures if f.case.cell == cell and (s := f.speedup(peer)) is not None]
            _lane(panel, row + (lane - (len(NAMES) - 1) / 2) * 0.18, speeds, peer, CELLS[cell].kin)
    panel.axvline(1, color="0.3", linewidth=0.8)
    # Twice as fast and half as fast are as far from 1.
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    panel.xaxis.set_minor_formatter(lambda value, _: f"{value:g}×" if f"{value:g}"[-1] in "25" else "")
    panel.tick_params(axis="x", which="minor", labelsize=7, labelcolor="0.4")
    panel.grid(axis="x", color="0.9")
    panel.set_axisbelow(True)
    panel.set_yticks(range(len(cells)), cells)
    # Downwards: the first cell stands at the top.
    panel.set_ylim(len(cells) - 0.5, -0.5)
    panel.set_title(f"{mode}, fp32")
    panel.set_xlabel("times as fast as the peer")
    panel.spines[["top", "right"]].set_visible(False)


def _lane(panel: Any, y: float, speeds: Sequence[float], peer: str, kin: bool) -> None:
    """Hollow dots where torch's layer has other equations."""
    if not speeds:
        return
    colour, hollow = COLOURS[peer], kin and peer == "torch_nn"
    face, label = ("none", "torch.nn, another cell") if hollow else (colour, NAMES[peer])
    panel.scatter(speeds, [y] * len(speeds), s=11, facecolors=face, edgecolors=colour, linewidths=0.7, label=label)
    mean = geometric_mean(speeds)
    panel.plot([mean, mean], [y - 0.09, y + 0.09], color=colour, linewidth=2.5, solid_capstyle="butt")


def _legend(panels: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """Each peer once."""
    named = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    return list(named.values()), list(named)

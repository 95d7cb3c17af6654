"""The figures for people: one table per mode and precision, then the stress tests, then the targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from benchmarks.cells import CELLS
from benchmarks.measure import Figure
from benchmarks.summary import Results, Row, rows
from gateflow.benchmarking.timing import Timing

COLUMNS = ("torch_nn", "eager", "compile", "jax", "onnx", "haste", "ours_fp32")
# Cores that others kept busy, above which a figure is marked.
DISTURBED = 0.1
LEGEND = (
    "How many times as fast as the peer gateflow is. ~: torch has other equations there. –: see below. "
    f"*: other processes kept more than {DISTURBED} cores busy meanwhile."
)


BOUND = "At the peak: the same if our products ran at the matrix peak of the machine and all else took no time."


def show(results: Results, console: Console) -> None:
    """Prints all that was measured, and why the rest was not."""
    for (mode, precision), figures in groupby(results.figures, lambda f: (f.case.mode, f.case.precision)):
        console.print(_table(f"{mode}, {precision}", list(figures)), "")
    if results.figures:
        console.print(LEGEND, style="dim")
    for reason, count in _reasons(results.figures).items():
        console.print(f"– {reason} [{count} figures]", style="dim", markup=False)
    for title, times in {"vanishing gradients": results.subnormal, "a busy machine": results.load}.items():
        if times:
            console.print(_times(title, times), "")
    if results.memory:
        console.print(_memory(results.memory), "")
    console.print(summary(rows(results)))


def summary(lines: Iterable[Row]) -> Table:
    """Target next to reached, and what could be at most."""
    columns = ("", "target", "reached", "", "at the peak", "least favourable")
    table = Table(*columns, box=None, title="summary", title_justify="left", caption=BOUND, caption_justify="left")
    for row in lines:
        sign = "≥" if row.at_least else "≤"
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[row.met]
        reached = "not measured" if row.reached is None else f"{row.reached:.2f}"
        worst = "" if row.worst is None else f"{row.worst:.2f}  {row.where}"
        bound = "" if row.bound is None else f"{row.bound:.2f}"
        table.add_row(row.what, f"{sign} {row.target}", reached, mark, bound, worst)
    return table


def _table(title: str, figures: Sequence[Figure]) -> Table:
    peers = [name for name in COLUMNS if any(name in f.times for f in figures)]
    table = Table("cell", "path", "B/T/I/H", box=None, title=title, title_justify="left")
    for heading in ("ours", *peers, "of peak", "rounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        share = "" if figure.peak_share is None else f"{figure.peak_share:.0%}"
        mark = "*" if figure.foreign_cores > DISTURBED else ""
        ours = figure.times["ours"]
        speeds = [_speed(figure, name) for name in peers]
        table.add_row(
            figure.case.cell,
            figure.path,
            figure.case.shape.name,
            milliseconds(ours.median) + mark,
            *speeds,
            share,
            f"{ours.rounds}",
        )
    return table


def _speed(figure: Figure, peer: str) -> str:
    speedup = figure.speedup(peer)
    if speedup is None:
        return "–"
    # Torch has no layer of these equations, and the nearest one stands there.
    kin = "~" if peer == "torch_nn" and CELLS[figure.case.cell].kin else ""
    return f"[{'green' if speedup >= 1 else 'red'}]{kin}{speedup:.2f}[/]"


def _reasons(figures: Iterable[Figure]) -> Counter[str]:
    """Who was not there and why, with the number of figures that lack them."""
    return Counter(f"{peer}: {reason}" for figure in figures for peer, reason in figure.absent.items())


def _times(title: str, times: dict[str, Timing]) -> Table:
    table = Table("", "a training step", box=None, title=title, title_justify="left")
    for name, timing in times.items():
        table.add_row(name, milliseconds(timing.median))
    return table


def _memory(peaks: dict[str, int | str]) -> Table:
    table = Table("", "", box=None, title="peak memory of a training step", title_justify="left")
    for name, peak in peaks.items():
        table.add_row(name, peak if isinstance(peak, str) else f"{peak / 2**20:,.0f} MiB")
    return table


def milliseconds(seconds: float) -> str:
    """Three digits: `0.0123 ms`, `12.3 ms`, `1,230 ms`."""
    value = 1e3 * seconds
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"

"""The tables of ``gateflow compare --with transformer``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from gateflow.cli.output import print_json, print_table
from gateflow.errors import ConfigError
from gateflow.runs.config_errors import flag

if TYPE_CHECKING:
    from gateflow.studies.versus import VersusResult, Width

__all__ = ["numbers_of", "show"]


def numbers_of(text: str, name: str, most: float) -> tuple[float, ...]:
    """A list of numbers as it is typed.

    Raises:
        ConfigError: it is none, or one is out of range.

    Example:
        >>> numbers_of("0.001, 0.003", "lrs", 1.0)
        (0.001, 0.003)
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 <= number < most for number in found):
        raise ConfigError(f"{flag(name)} {text}: give numbers from 0 to below {most:g}, separated by commas.")
    return found


def show(results: Sequence[VersusResult], next_width: Width | None, *, json: bool) -> None:
    """Quality and cost of each side, and then what a new token costs as more stand before it.

    `next_width` is of a Transformer whose parameters were matched; none where time was.
    """
    if json:
        print_json([{**each._asdict(), "growth": each.growth and asdict(each.growth)} for each in results])
        return
    first = results[0]
    columns = ["", "parameters", "width", "lr", "dropout", "updates", f"{first.target}/s", "peak memory", first.measure]
    # A side whose trainings have all broken has none.
    grown = next((each.growth for each in results if each.growth is not None), None)
    if grown is not None:
        columns += [f"{grown.measure} to {grown.trained}", "beyond"]
    made_equal = "Equal minutes of training" if next_width is None else _nearness(results, next_width)
    print_table(
        columns,
        [_row(each, len(columns)) for each in results],
        title=f"{made_equal}; the best of one grid for each side, {_minutes(results)} of training in all; the "
        f"{first.better} the better. Peak memory: of a training, beyond that of its process at the start. "
        "Beyond: behind more tokens than a layer looks back to, or a target has, in training.",
    )
    steps = [each for each in results if each.growth is not None and each.growth.steps]
    if steps:
        _show_steps(steps)


def _nearness(results: Sequence[VersusResult], next_width: Width) -> str:
    """How equal parameters are: widths come in steps, which are large where networks are small."""
    first, last = results[0], results[-1]
    if last.side != "transformer":  # stopped before it was done
        return f"Parameters of {first.side}, which the Transformer would have had as well"
    share = last.parameters / first.parameters - 1
    found = f"{100 * abs(share):.1f} % {'more' if share > 0 else 'fewer'}" if share else "as many"
    return (
        f"Parameters as equal as widths allow: {first.side} {first.parameters:,}, {last.side} {last.parameters:,}: "
        f"{found} (the next width, {next_width.width}, has {next_width.parameters:,})"
    )


def _show_steps(results: Sequence[VersusResult]) -> None:
    grown = [each.growth for each in results if each.growth is not None]
    columns = ["tokens before"] + [f"{each.side}: {what}" for each in results for what in ("µs", "memory")]
    rows = []
    for k, step in enumerate(grown[0].steps):
        cells = [(f"{each.steps[k].microseconds:.0f}", _size(each.steps[k].bytes)) for each in grown]
        rows.append([f"{step.length:,}", *(cell for pair in cells for cell in pair)])
    title = "A new token, one sequence at a time: its time, and what is carried on from token to token."
    print_table(columns, rows, title=title)


def _row(found: VersusResult, columns: int) -> list[str]:
    mean, deviation = found.spread()
    quality = f"{mean:,.4g} ± {deviation:.2g}" if len(found.qualities) > 1 else f"{mean:,.4g}"
    peak = "–" if found.peak_bytes is None else _size(found.peak_bytes)
    row = [found.side, f"{found.parameters:,}", str(found.width), f"{found.lr:g}", f"{found.dropout:g}"]
    row += [f"{found.updates:,}", f"{found.targets_per_second:,.0f}", peak, quality]
    if found.growth is not None:
        row += ["–" if x is None else f"{x:,.4g}" for x in (found.growth.within, found.growth.beyond)]
    return row + ["–"] * (columns - len(row))


def _minutes(results: Sequence[VersusResult]) -> str:
    return f"{sum(each.minutes for each in results):.1f} minutes"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"

"""Results go to stdout, as text or as one JSON object; everything else goes to stderr.

No other file of this package prints: what is printed here cannot steer the terminal (see `visible`).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from rich.table import Table

from gateflow.cli.visible import VisibleConsole, in_json, visible

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Let the run import the cell it names, code that came with it or not.")
]


def print_json(result: Any) -> None:
    """One JSON document on stdout; what is not finite becomes null, since JSON knows no NaN."""
    # Letters of other scripts stay readable; what steers a terminal is escaped.
    typer.echo(in_json(json.dumps(_finite(result), ensure_ascii=False)))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table on stdout; numbers stand to the right."""
    # Without lines: columns of it can be cut out by other programs.
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(visible(column), justify="right" if all(_is_number(row[i]) for row in rows) else "left")
    for row in rows:
        table.add_row(*map(visible, row))
    console = VisibleConsole()
    if not console.is_terminal:
        console.width = 1000  # a file has no edge at which to wrap
    if title:
        console.print(title, style="dim")
    console.print(table)


def write(text: str = "", *, colour: str | None = None) -> None:
    """A line of the result on stdout."""
    typer.secho(visible(text), fg=colour)


def write_exactly(text: str, *, end: str = "") -> None:
    """Text that a model made, or goes on from, on stdout: visible on a terminal, exact in a file or pipe.

    What goes into a file is data, of which a program may count each byte; a table or a message is for people wherever
    it goes, and is always visible.
    """
    sys.stdout.write((visible(text) if sys.stdout.isatty() else text) + end)
    # Piece by piece: whoever waits for a text sees it grow.
    sys.stdout.flush()


def say(text: str, *, style: str | None = None) -> None:
    """A remark on stderr."""
    # Not wrapped: a path that is broken over two lines cannot be copied.
    VisibleConsole(stderr=True).print(text, style=style, soft_wrap=True)


def watched(items: Iterable[T], doing: str, total: int) -> Iterable[T]:
    """The items, with a bar on stderr that says how many have gone by."""
    from rich import progress  # which only a few commands need

    err = VisibleConsole(stderr=True)
    # On a terminal only: a log has no use for a bar.
    return progress.track(items, doing, total=total, console=err, transient=True, disable=not err.is_terminal)


def _is_number(text: str) -> bool:
    # Also "1,234", "0.5 ± 0.1" and the dash of what is missing.
    return text.strip("-").replace(",", "").replace(".", "").replace(" ± ", "").isdigit()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Results go to stdout, as text or as one JSON object; everything else goes to stderr."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Let the run import the cell it names, code that came with it or not.")
]


def print_json(result: Any) -> None:
    """One JSON document on stdout; what is not finite becomes null, since JSON knows no NaN."""
    typer.echo(json.dumps(_finite(result), ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """A table on stdout; numbers stand to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if all(_is_number(row[i]) for row in rows) else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 1000  # a file has no edge at which to wrap
    if title:
        console.print(title, style="dim")
    console.print(table)


def say(text: str, *, style: str | None = None) -> None:
    """A remark on stderr."""
    Console(stderr=True).print(text, style=style, soft_wrap=True, markup=False, highlight=False)


def _is_number(text: str) -> bool:
    return text.strip("-").replace(",", "").replace(".", "").replace(" ± ", "").isdigit()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

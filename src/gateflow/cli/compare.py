"""``gateflow compare``: cells side by side on one text and one budget."""

from __future__ import annotations

from typing import Annotated

import typer

from gateflow.cli.output import AsJson, print_json, print_table
from gateflow.cli.settings import Settings, with_settings


@with_settings
def compare(
    settings: Settings,
    cells: Annotated[str, typer.Option(help="Names, separated by commas.")] = "elman,gru,full_gru,lstm",
    updates: Annotated[int | None, typer.Option(min=1, help="Budget: updates per cell and seed.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Budget: minutes per cell and seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per cell.")] = 1,
    json: AsJson = False,
) -> None:
    """Train several cells on one text and one budget: parameters, time and perplexity in one table.

    Example: `gateflow compare --data corpus.txt --cells lstm,full_gru --minutes 2 --seeds 3`
    """
    from gateflow.cli.progress import TrainingDisplay
    from gateflow.cli.training import flush_subnormals
    from gateflow.training.comparison import Budget, Comparison

    flush_subnormals()
    with TrainingDisplay(lines=False) as display:
        comparison = Comparison(settings, Budget(updates, minutes), seeds, [display])
        results = list(comparison.results([name.strip() for name in cells.split(",")]))
    if json:
        print_json([result._asdict() for result in results])
        return
    columns = ("cell", "parameters", "updates", "µs per token", "validation perplexity")
    rows = [
        [r.cell, f"{r.parameters:,}", f"{r.updates:,}", f"{r.microseconds_per_token:.1f}", _quality(*r.spread(), seeds)]
        for r in results
    ]
    print_table(columns, rows, title="Parameters of the recurrent layers; time of training only.")


def _quality(mean: float, deviation: float, seeds: int) -> str:
    return f"{mean:,.1f} ± {deviation:.1f}" if seeds > 1 else f"{mean:,.1f}"

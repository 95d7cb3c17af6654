"""``gateflow compare``: cells side by side on one task and one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cli.output import AsJson, print_json, print_table
from gateflow.cli.settings import Settings, refuse_idle, with_settings
from gateflow.runs.config import RunConfig
from gateflow.studies.compared import LENGTH, MEMORY, NOT_HERE, TEXT, WORDS, refuse_others
from gateflow.tasks import description

if TYPE_CHECKING:
    from gateflow.studies.budget import Budget, CellResult
    from gateflow.studies.memory_comparison import MemoryComparison

# Of what is compared on a text; its options are those of the training, described once.
KIND: type[RunConfig] = description(TEXT).part("config")


@with_settings(KIND, without=NOT_HERE, words={**description(TEXT).option_help, **WORDS})
def compare(
    settings: Settings,
    cells: Annotated[str, typer.Option(help="Names, separated by commas.")] = "elman,gru,full_gru,lstm",
    task: Annotated[str, typer.Option(metavar="|".join((TEXT, *MEMORY)), help="A text, or a task of memory.")] = TEXT,
    length: Annotated[
        int | None, typer.Option(min=1, help=f"Time steps of a task of memory. [{LENGTH}]", show_default=False)
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Budget: updates per cell and seed.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Budget: minutes per cell and seed.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per cell.")] = 1,
    json: AsJson = False,
) -> None:
    """Train several cells on one task and one budget: parameters, time, quality and gradient reach in one table.

    Example: `gateflow compare --data corpus.txt --cells lstm,full_gru --minutes 2 --seeds 3`

    Without a text: `gateflow compare --task adding --length 100 --updates 2000`
    """
    from gateflow.backends.cpu.process import prepare_process
    from gateflow.cli.progress import TrainingDisplay
    from gateflow.studies.budget import Budget
    from gateflow.studies.comparison import Comparison

    prepare_process()
    # "gru, lstm" is what people type.
    names = [name.strip() for name in cells.split(",")]
    budget, measure = Budget(updates, minutes), "validation perplexity"
    refuse_others(task, length, settings)
    with TrainingDisplay(lines=False) as display:
        if task == TEXT:
            comparison = Comparison(settings, budget, seeds, [display])
            refuse_idle(settings, comparison.configure(names[0]))
        else:
            comparison = _memory(task, length or LENGTH, budget, seeds, settings)
            comparison.on_update, measure = display.move, comparison.task.metric
        results = list(comparison.results(names))
    if json:
        print_json([{**result._asdict(), "measure": measure} for result in results])
    else:
        columns = ("cell", "parameters", "updates", "µs per step", measure, f"horizon of {results[0].reachable}")
        title = (
            "Parameters of the recurrent layers; time of training only; the smaller the better. Horizon: steps back "
        )
        title += "at which 1 % of the gradient is left after training."
        print_table(columns, [_row(result) for result in results], title=title)


def _memory(task: str, length: int, budget: Budget, seeds: int, settings: Settings) -> MemoryComparison:
    from gateflow.studies.memory_comparison import MEMORY_TASKS, MemoryComparison

    typed = {name: section for section, values in settings.items() for name in values}
    checked = KIND.build({**settings, "data": {"train": "none"}})  # for the bounds of its options
    options = {name: getattr(getattr(checked, section), name) for name, section in typed.items()}
    return MemoryComparison(MEMORY_TASKS[task](length), budget, seeds, **options)


def _row(result: CellResult) -> list[str]:
    mean, deviation = result.spread()
    quality = f"{mean:,.4g} ± {deviation:.2g}" if len(result.qualities) > 1 else f"{mean:,.4g}"
    speed = f"{result.microseconds_per_step:.1f}"
    reached = ", ".join("–" if horizon is None else str(horizon) for horizon in result.horizons)
    return [result.cell, f"{result.parameters:,}", f"{result.updates:,}", speed, quality, reached]

"""``gateflow compare``: cells side by side on one task and one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cli.output import AsJson, print_json, print_table
from gateflow.cli.settings import PIPED, Settings, refuse_idle, with_settings
from gateflow.errors import ConfigError
from gateflow.training.complaints import flag

if TYPE_CHECKING:
    from gateflow.training.budget import Budget, Result
    from gateflow.training.memory_comparison import MemoryComparison

LENGTH = 100
NOT_HERE = frozenset({"cell", "max_updates", "bidirectional", "checkpoint_every", "monitor", "tensorboard"})
"""Settings of a run that a comparison has in another form (--cells, --updates) or not at all."""
WORDS = {
    "train": PIPED,
    "epochs": "Most passes over the text; without end if left out.",
    "seed": "The first seed. Default: 0.",
}
FOR_MEMORY = ("hidden_size", "batch_size", "lr", "clip", "seed")
"""Settings that a task of long memory has; the others belong to a language model."""


@with_settings(without=NOT_HERE, words=WORDS)
def compare(
    settings: Settings,
    cells: Annotated[str, typer.Option(help="Names, separated by commas.")] = "elman,gru,full_gru,lstm",
    task: Annotated[str, typer.Option(metavar="lm|adding|copy|order", help="A text, or a task of memory.")] = "lm",
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
    from gateflow.training.budget import Budget
    from gateflow.training.comparison import Comparison

    prepare_process()
    names = [name.strip() for name in cells.split(",")]
    budget, measure = Budget(updates, minutes), "validation perplexity"
    if task == "lm" and length is not None:
        raise ConfigError(f"--length {length} belongs to a task of memory, such as --task adding.")
    with TrainingDisplay(lines=False) as display:
        if task == "lm":
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
    from gateflow.training.config import RunConfig
    from gateflow.training.memory_comparison import MEMORY_TASKS, MemoryComparison

    if task not in MEMORY_TASKS:
        raise ConfigError(f"--task {task}: there are lm, {', '.join(MEMORY_TASKS)}.")
    typed = {name: section for section, values in settings.items() for name in values}
    if strangers := [name for name in typed if name not in FOR_MEMORY]:
        known = ", ".join(map(flag, FOR_MEMORY))
        raise ConfigError(f"{flag(strangers[0])} belongs to --task lm; --task {task} has {known}.")
    checked = RunConfig.build({**settings, "data": {"train": "none"}})
    options = {name: getattr(getattr(checked, section), name) for name, section in typed.items()}
    return MemoryComparison(MEMORY_TASKS[task](length), budget, seeds, **options)


def _row(result: Result) -> list[str]:
    mean, deviation = result.spread()
    quality = f"{mean:,.4g} ± {deviation:.2g}" if len(result.qualities) > 1 else f"{mean:,.4g}"
    speed = f"{result.microseconds_per_step:.1f}"
    reached = ", ".join("–" if horizon is None else str(horizon) for horizon in result.horizons)
    return [result.cell, f"{result.parameters:,}", f"{result.updates:,}", speed, quality, reached]

"""``gateflow compare``: cells side by side on one task and one budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from gateflow.cell_names import refuse_unknown
from gateflow.cli.failures import UsageError
from gateflow.cli.output import AsJson, print_json, print_table
from gateflow.cli.settings import Settings, refuse_idle, refuse_missing_files, with_settings
from gateflow.cli.versus import numbers_of
from gateflow.cli.versus import show as show_versus
from gateflow.errors import ConfigError, among
from gateflow.remedies.initial_weights import parted
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag
from gateflow.studies.compared import FOR_MEMORY, LENGTH, MEMORY, TEXT, WORDS, belonging_to, comparable, not_here
from gateflow.tasks import TASKS, description
from gateflow.tasks.description import TaskDescription

if TYPE_CHECKING:
    from gateflow.studies.budget import Budget, CellResult

Cells = Annotated[str, typer.Option(help="Names, separated by commas; CELL:WEIGHTS for initial weights.")]
OnTask = Annotated[
    str,
    typer.Option(
        metavar="<task>",
        help=f"A task with data, as of `gateflow train`, or one of memory, which takes none: {', '.join(MEMORY)}. Each "
        "has options of its own, shown by `gateflow compare --task NAME --help`.",
    ),
]
Updates = Annotated[int | None, typer.Option(min=1, help="Budget: updates per cell and seed.")]
Minutes = Annotated[
    float | None, typer.Option(min=0.0, help="Budget: minutes per cell and seed. [default: one, without --updates]")
]
With = Annotated[
    str | None,
    typer.Option("--with", metavar="transformer", help="Compare with a Transformer, both tuned by one grid."),
]
Match = Annotated[
    str, typer.Option(help="With a Transformer: parameters (as many), or time (as wide as asked, --minutes each).")
]
Lrs = Annotated[str, typer.Option(help="With a Transformer: learning rates of the grid; --lr takes their place.")]
Dropouts = Annotated[str, typer.Option(help="With a Transformer: dropouts of the grid; --dropout takes their place.")]
GridShare = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=1.0,
        help="With a Transformer: share of the budget for each point of the grid; the best has all of it anew.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Trainings per cell.")]

# What is compared if nothing is typed.
CELLS = "elman,gru,full_gru,lstm"
# Minutes, if no budget is typed: a table of four cells is there in as many.
USUAL = 1.0
# The grid that both sides are tuned by, next to a Transformer.
LRS, DROPOUTS = "0.001,0.003,0.01", "0.1,0.3"


def compare_command(name: str) -> Callable[..., None]:
    """The command that compares cells on a task: with the options of its training, fewer those that a budget decides.

    Raises:
        ConfigError: cells are not compared on such a task.
    """
    if name in MEMORY:
        return _on_memory(name)
    if name not in {task.name for task in comparable()}:
        what = f"the task {name} does not say how cells are compared on it" if name in TASKS else f"--task {name}"
        raise ConfigError(f"{what}: {among(name, [*(task.name for task in comparable()), *MEMORY])}.")
    described = description(name)
    kind: type[RunConfig] = described.part("config")

    @with_settings(kind, without=not_here(kind), words={**described.option_help, **WORDS})
    def compare(
        settings: Settings,
        cells: Cells = CELLS,
        task: OnTask = name,
        updates: Updates = None,
        minutes: Minutes = None,
        seeds: Seeds = 1,
        with_: With = None,
        match: Match = "parameters",
        lrs: Lrs = LRS,
        dropouts: Dropouts = DROPOUTS,
        grid_share: GridShare = 1.0,
        json: AsJson = False,
    ) -> None:
        """Train several cells on one task and one budget: parameters, time, quality and gradient reach in one table.

        Example: `gateflow compare --data corpus.txt --cells lstm,full_gru --minutes 2 --seeds 3`

        Words with tags: `gateflow compare --task tagger --data train.conll --updates 2000`. Without data:
        `gateflow compare --task adding --length 100 --updates 2000`. With a Transformer:
        `gateflow compare --data corpus.txt --cells lstm --with transformer --updates 2000`
        """
        names, grid = _names(cells), _grid(settings, with_, match, lrs, dropouts, grid_share)
        refuse_missing_files(settings, kind.build(settings))

        from gateflow.backends.cpu.process import prepare_process
        from gateflow.cli.progress import TrainingDisplay
        from gateflow.studies.budget import Budget
        from gateflow.studies.comparison import Comparison

        budget = Budget(updates, USUAL if updates is None and minutes is None else minutes)
        if with_ is not None:
            _against(description(task), settings, budget, seeds, names, grid, json=json)
            return

        prepare_process()
        with _whatever_is_done(lambda done: _show(done, json=json)) as done, TrainingDisplay(lines=False) as display:
            comparison = Comparison(description(task), settings, budget, seeds, [display])
            refuse_idle(settings, comparison.configure(names[0]).idle())
            for result in comparison.results(names):
                done.append(result)

    return compare


@contextmanager
def _whatever_is_done(show: Callable[[list[Any]], None]) -> Iterator[list[Any]]:
    """A list of results that is shown after the block, however it ends: hours of trainings are not thrown away."""
    done: list[Any] = []
    try:
        yield done
    finally:
        if done:
            show(done)


def _grid(
    settings: Settings, with_: str | None, match: str, lrs: str, dropouts: str, grid_share: float
) -> dict[str, Any]:
    """What is matched and tried; typed without a Transformer it would do nothing."""
    if with_ not in (None, "transformer"):
        raise ConfigError(f"--with {with_}: {among(with_, ['transformer'], what='there is')}.")
    typed = {"--match": match != "parameters", "--lrs": lrs != LRS, "--dropouts": dropouts != DROPOUTS}
    typed["--grid-share"] = grid_share != 1.0
    if with_ is None and any(typed.values()):
        raise ConfigError(f"{next(name for name in typed if typed[name])} belongs to --with transformer.")
    if match not in ("parameters", "time"):
        raise ConfigError(f"--match {match}: {among(match, ('parameters', 'time'))}.")
    lr, dropout = settings.get("training", {}).get("lr"), settings.get("model", {}).get("dropout")
    rates = numbers_of(lrs, "lrs", math.inf) if lr is None else (lr,)
    return {
        "match": match,
        "grid_share": grid_share,
        "lrs": rates,
        "dropouts": numbers_of(dropouts, "dropouts", 1.0) if dropout is None else (dropout,),
    }


def _against(
    task: TaskDescription,
    settings: Settings,
    budget: Budget,
    seeds: int,
    cells: Sequence[str],
    grid: dict[str, Any],
    *,
    json: bool,
) -> None:
    """Cells and a Transformer, in tables of their own."""
    from gateflow.backends.cpu.process import prepare_process
    from gateflow.cli.progress import TrainingDisplay
    from gateflow.studies.versus import TRANSFORMER, Versus

    prepare_process()
    display = TrainingDisplay(lines=False)
    versus = Versus(task, settings, budget, seeds, [display], **grid)
    # What one side alone reads is read.
    idle = [versus.configure(side).idle() for side in (cells[0], TRANSFORMER)]
    refuse_idle(settings, {name: of for name, of in idle[0].items() if name in idle[1]})
    with _whatever_is_done(lambda done: show_versus(done, versus.next_width, json=json)) as done, display:
        for result in versus.sides(cells):
            done.append(result)


def _on_memory(name: str) -> Callable[..., None]:
    kind: type[RunConfig] = description(TEXT).part("config")
    others = {field for section in kind.sections().values() for field in section.model_fields} - {*FOR_MEMORY}
    words = {"hidden_size": "Units. Default: 100.", "batch_size": "Sequences side by side. Default: 50."}
    words |= {"lr": "Learning rate. Default: 0.001."}

    @with_settings(kind, without=others, words={**WORDS, **words})
    def compare(
        settings: Settings,
        cells: Cells = CELLS,
        task: OnTask = name,
        length: Annotated[int, typer.Option(min=1, help="Time steps.")] = LENGTH,
        updates: Updates = None,
        minutes: Minutes = None,
        seeds: Seeds = 1,
        json: AsJson = False,
    ) -> None:
        """Train several cells on a task of long memory, adding, copy or order, and one budget.

        Example: `gateflow compare --task adding --length 100 --updates 2000`
        """
        names = _names(cells)

        from gateflow.backends.cpu.process import prepare_process
        from gateflow.cli.progress import TrainingDisplay
        from gateflow.studies.budget import Budget
        from gateflow.studies.memory_comparison import MEMORY_TASKS, MemoryComparison

        prepare_process()
        typed = {option: section for section, values in settings.items() for option in values}
        checked = kind.build({**settings, "data": {"train": "none"}})  # for the bounds of its options
        options = {option: getattr(getattr(checked, section), option) for option, section in typed.items()}
        with _whatever_is_done(lambda done: _show(done, json=json)) as done, TrainingDisplay(lines=False) as display:
            budget = Budget(updates, USUAL if updates is None and minutes is None else minutes)
            comparison = MemoryComparison(MEMORY_TASKS[task](length), budget, seeds, **options, on_update=display.move)
            for result in comparison.results(names):
                done.append(result)

    return compare


class OfATask(TyperCommand):
    """The command has the options of the task that is typed: so `--task` is looked for before all else is read."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """As typer does, for the command of the task."""
        name = _task_in(args)
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        app.command("compare")(compare_command(name))
        try:
            return typer.main.get_command(app).make_context(info_name, list(args), parent, **extra)
        except UsageError as error:
            option = getattr(error, "option_name", None)
            if not (isinstance(option, str) and (others := belonging_to(option))):
                raise
            of_memory = f" has {', '.join(map(flag, FOR_MEMORY))}"
            has = of_memory if name in MEMORY else f": see gateflow compare --task {name} --help"
            raise ConfigError(f"{option} belongs to --task {' and '.join(others)}; --task {name}{has}.") from None


def _task_in(args: Sequence[str]) -> str:
    """The task that is typed, the last one as of every option."""
    found = TEXT
    for word, following in zip(args, [*args[1:], ""], strict=True):
        if word == "--task" and following:
            found = following
        elif word.startswith("--task="):
            found = word.removeprefix("--task=")
    return found


def _names(cells: str) -> list[str]:
    # "gru, lstm" is what people type.
    names = [name.strip() for name in cells.split(",")]
    for name in names:
        refuse_unknown(parted(name)[0])
    return names


def _show(results: Sequence[CellResult], *, json: bool) -> None:
    if json:
        print_json([result._asdict() for result in results])
        return
    first = results[0]
    speed, horizon = f"µs per {first.target}", f"horizon of {first.reachable}"
    columns = ("cell", "parameters", "updates", speed, first.measure, horizon)
    title = (
        f"Parameters of the recurrent layers; time of training only; the {first.better} the better. Horizon: steps "
        "back at which 1 % of the gradient is left after training."
    )
    print_table(columns, [_row(result) for result in results], title=title)


def _row(result: CellResult) -> list[str]:
    mean, deviation = result.spread()
    quality = f"{mean:,.4g} ± {deviation:.2g}" if len(result.qualities) > 1 else f"{mean:,.4g}"
    speed = f"{result.microseconds_per_step:.1f}"
    reached = ", ".join("–" if horizon is None else str(horizon) for horizon in result.horizons)
    return [result.cell, f"{result.parameters:,}", f"{result.updates:,}", speed, quality, reached]


# As it is listed, and what it is without --task.
compare = compare_command(TEXT)

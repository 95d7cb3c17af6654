"""``gateflow remedies``: what helps a recurrent network to remember, each remedy alone, on one task and one budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cli.failures import INTERRUPTED
from gateflow.cli.output import AsJson, print_json, print_table, say, write
from gateflow.errors import ConfigError, GateflowError, among

if TYPE_CHECKING:
    from gateflow.studies.candidates import Candidate
    from gateflow.studies.memory_comparison import MemoryComparison
    from gateflow.studies.remedy_study import Training

UPDATES = 1000


def remedies(
    of: Annotated[str, typer.Option(metavar="remedies|initial-weights", help="What is compared.")] = "remedies",
    only: Annotated[str, typer.Option(help="Those whose name has this in it.")] = "",
    task: Annotated[str, typer.Option(metavar="order|adding|copy", help="The task of memory.")] = "order",
    length: Annotated[int, typer.Option(min=1, help="Its time steps.")] = 100,
    updates: Annotated[int | None, typer.Option(min=1, help=f"Budget: updates per training. [{UPDATES}]")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Budget: minutes per training.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per candidate.")] = 3,
    hidden_size: Annotated[int, typer.Option(min=1, help="Units.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences per update.")] = 50,
    lr: Annotated[float, typer.Option(min=0.0, help="Learning rate of Adam.")] = 1e-3,
    json: AsJson = False,
) -> None:
    """Train a plain RNN, then with each remedy alone, on a task of long memory, and see which of them solve it.

    How far the gradient reaches is measured before training; the table puts that next to the outcome. With
    ``--of initial-weights`` nine ways to begin are compared, the gradient clipped at 1, and the usual norm of the
    gradient stands there too. Ctrl-C shows what is done. About ten minutes; adding needs ``--updates 3500``.

    Example: `gateflow remedies --of initial-weights --seeds 3`
    """
    from gateflow.backends.cpu.process import prepare_process
    from gateflow.studies.budget import Budget
    from gateflow.studies.memory_comparison import MEMORY_TASKS, MemoryComparison
    from gateflow.studies.remedy_study import probed_lag
    from gateflow.studies.remedy_summary import foretold
    from gateflow.studies.remedy_table import study_table

    if task not in MEMORY_TASKS:
        raise ConfigError(f"--task {task}: {among(task, MEMORY_TASKS)}.")
    candidates = _chosen(of, only)
    prepare_process()
    budget = Budget(UPDATES) if updates is None and minutes is None else Budget(updates, minutes)
    comparison = MemoryComparison(MEMORY_TASKS[task](length), budget, seeds, hidden_size, batch_size, lr)
    trainings, ended = _run(comparison, candidates)
    if trainings:
        table = study_table(comparison.task, trainings, gradients=of == "initial-weights")
        if json:
            print_json(table.json)
        else:
            print_table(table.columns, table.rows, title=table.title)
            for line in foretold(trainings, probed_lag(comparison.task)):
                write(line)
    if isinstance(ended, KeyboardInterrupt):
        say("Stopped; this is what was done." if trainings else "Stopped before the first training was done.")
        raise typer.Exit(INTERRUPTED)
    if ended:
        raise ended


def _chosen(of: str, only: str) -> list[Candidate]:
    from gateflow.studies.candidates import CATALOGUES

    if of not in CATALOGUES:
        raise ConfigError(f"--of {of}: {among(of, CATALOGUES)}.")
    if found := [candidate for candidate in CATALOGUES[of] if only.lower() in candidate.name.lower()]:
        return found
    raise ConfigError(f"--only {only}: {among(only, [candidate.name for candidate in CATALOGUES[of]])}.")


def _run(
    comparison: MemoryComparison, candidates: Sequence[Candidate]
) -> tuple[list[Training], KeyboardInterrupt | GateflowError | None]:
    """The trainings that were done, and what ended them before the last."""
    from gateflow.cli.progress import TrainingDisplay
    from gateflow.studies.remedy_study import study
    from gateflow.studies.remedy_table import in_words

    done: list[Training] = []
    total = len(candidates) * comparison.seeds
    with TrainingDisplay(lines=False) as display:
        comparison.on_update = display.move

        def begin(candidate: Candidate, seed: int) -> None:
            display.bar.update(display.task, description=f"{len(done) + 1} of {total}: {candidate.name}, seed {seed}")

        try:
            for training in study(comparison, candidates, begin):
                done.append(training)
                display.console.print(in_words(training), soft_wrap=True, style="dim")
        # Ten minutes of trainings are not thrown away for one that fails: what is done is shown, then the
        # error.
        except (KeyboardInterrupt, GateflowError) as ended:
            return done, ended
    return done, None

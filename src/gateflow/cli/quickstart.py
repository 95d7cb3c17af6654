"""``gateflow quickstart``: does a verb agree with a subject 60 words back, and does its gradient get there?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cell_names import refuse_unknown
from gateflow.cli.diagnose import check_free
from gateflow.cli.output import AsJson, print_json, print_table, say, write
from gateflow.cli.visible import VisibleConsole
from gateflow.remedies.initial_weights import parted

if TYPE_CHECKING:
    from gateflow.studies.agreement_training import AgreementResult, Entry

CONFIGS = "elman,simplified_gru,full_gru,lstm,lstm:chrono"


def quickstart(
    cells: Annotated[str, typer.Option(help="Cells, by commas; CELL:WEIGHTS for initial weights.")] = CONFIGS,
    updates: Annotated[int, typer.Option(min=1, help="Budget: updates per training.")] = 600,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings per cell; the tables show means.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes side by side; 0 for one per core.")] = 0,
    out: Annotated[Path, typer.Option(help="The flow report, one HTML file.")] = Path("quickstart-flow.html"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs that are kept: two LSTMs, if they take part.")] = Path(
        "quickstart-runs"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace the report and the runs that are there.")] = False,
    json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train five cells on sentences whose verb agrees with a subject 1 to 60 words back, and compare them.

    Each cell is trained twice on one budget: with sentences of every distance, and with far ones only (21 to 60 words).
    The tables show how often it then chooses the right verb, and how much of the verb's gradient reached the subject
    before training. A page with plots shows why: the gradient flow of one of them, the LSTM if it takes part, before
    training. Two LSTMs, trained on far sentences, are kept as runs that other commands can open. About a minute on two
    quiet cores, times ``--seeds``.

    Example: `gateflow quickstart --cells lstm,lstm:chrono,gru:chrono --seeds 1`
    """
    names = [name.strip() for name in cells.split(",")]
    for name in names:
        refuse_unknown(parted(name)[0])
    # Before a minute of training, not after it.
    check_free(out, force)

    from gateflow.studies.agreement import entries_of, flow_report, kept_at, refuse_taken
    from gateflow.studies.agreement_training import AgreementBudget

    kept = kept_at(runs, names)
    refuse_taken(kept.values(), force)  # before a minute of training
    entries = entries_of(names, range(seed, seed + seeds), AgreementBudget(updates=updates), kept)
    results = _run(entries, workers, quiet)
    if json:
        print_json([vars(result) for result in results])
    else:
        _report(names, results, seed)
    flow_report("lstm" if "lstm" in names else names[0], seed).save(out)
    say(f"Why, with plots: {out}")
    if kept:
        *_, last = kept.values()
        say(f"Runs, trained on far sentences: {', '.join(map(str, kept.values()))}. Try:")
        say(f"  gateflow evaluate {last}    gateflow diagnose {last}")
        say(f"  gateflow inspect {' '.join(map(str, kept.values()))}    (look inside, on a page of this machine)")


def _run(entries: list[Entry], workers: int, quiet: bool) -> list[AgreementResult]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from gateflow.studies.agreement import train_all

    total = sum(entry.budget.updates for entry in entries)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    console = VisibleConsole(stderr=True, quiet=quiet)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(f"{len(entries)} trainings of {entries[0].budget.updates} updates", total=total)
        # The longest first, so that no core is idle for long at the end: far sentences are long, and GRUs slow.
        slowest_first = sorted(entries, key=lambda entry: (entry.distances, "gru" in entry.cell), reverse=True)
        # More processes than trainings would only start and end.
        workers = min(workers or _cores(), len(entries))
        return train_all(slowest_first, workers, lambda done: bar.update(task, completed=done))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(names: list[str], results: list[AgreementResult], seed: int) -> None:
    from random import Random

    from gateflow.data.agreement import BUCKETS, draw
    from gateflow.studies.agreement import DISTANCES
    from gateflow.studies.quickstart_summary import by_config, quickstart_summary

    # Long enough to show what is hard, short enough for a line.
    example = draw(Random(seed), distance=15, attractors=2)
    write(f"{example.grammatical}\n{'not:':>{len(' '.join(example.prefix))}} {example.wrong_verb}\n")
    for distances, buckets in DISTANCES.items():
        found = by_config(names, [result for result in results if result.distances == distances])
        rows = [
            [f"{words[0]} to {words[-1]}"] + [f"{100 * c.accuracy[i]:3.0f} % {c.reach_before[i]:.0e}" for c in found]
            for i, words in enumerate(BUCKETS)
        ]
        title = f"Trained on distances of {buckets[0][0]} to {buckets[-1][-1]} words: accuracy, reach before training"
        print_table(["distance", *(c.label for c in found)], rows, title=title)
        write()
    write("Reach: the part of the verb's gradient that arrives at the subject. Guessing is right in 50 %.")
    for line in quickstart_summary(names, results):
        write(f"- {line}")

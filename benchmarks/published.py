"""Two results of the paper that introduced the LSTM, again: how many sequences until a task of long memory is solved.

    python -m benchmarks.published

Tasks and criteria are the paper's: experiments 4 (adding) and 6a (temporal order), lengths drawn from 100 to 110,
solved when 2,000 sequences are all answered within its tolerance. The learner is today's: an LSTM with forget gates, 32
units, Adam, batches of 20. Next to it a plain tanh network; no recurrent network before had solved 6a, the paper says.

Source: Hochreiter, Schmidhuber (1997). Long short-term memory. Neural Computation 9(8), tables 7 and 9.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator

from benchmarks.tasks_of_1997 import CHECKED, Adding1997, TemporalOrder1997
from gateflow.layers import Recurrent
from gateflow.remedies import init
from gateflow.studies.memory import MemoryTask
from gateflow.studies.memory_training import check, train_memory

# The paper tests on 2,560 sequences.
HIDDEN, BATCH, RATE, TESTED = 32, 20, 3e-3, 2560
SEEDS, BUDGET = 5, 100_000


class Experiment(NamedTuple):
    """A task with the paper's figures: sequences until solved, and wrong answers among 2,560 afterwards (means)."""

    name: str
    task: MemoryTask
    sequences: int
    wrong: int


class Learner(NamedTuple):
    """A cell and its initial weights."""

    name: str
    cell: str
    start: Callable[[Recurrent], None] = lambda layer: None


class Trial(NamedTuple):
    """One seed: sequences until solved, if ever within the budget, and wrong answers among 2,560 others."""

    solved_after: int | None
    wrong: int


EXPERIMENTS = (
    Experiment("4, adding", Adding1997(100), 74_000, 1),
    Experiment("6a, temporal order", TemporalOrder1997(100), 31_390, 1),
)
LEARNERS = (
    Learner("LSTM, chrono", "lstm", partial(init.chrono, max_lag=100)),
    Learner("LSTM, torch's initial weights", "lstm"),
    Learner("plain tanh network", "elman"),
)


def trial(task: MemoryTask, learner: Learner, seed: int, budget: int = BUDGET) -> Trial:
    """Train on one seed until solved, or until so many sequences are used up; then test on 2,560 others."""
    outcome = train_memory(
        task,
        learner.cell,
        init=learner.start,
        hidden_size=HIDDEN,
        updates=budget // BATCH,
        batch_size=BATCH,
        learning_rate=RATE,
        check_every=100,
        check_size=CHECKED,
        seed=seed,
    )
    # Seeds that neither training nor checks have used.
    wrong = check(task, outcome.model, TESTED, Generator().manual_seed(seed + 2_000_003)) * TESTED
    return Trial(outcome.solved_at and outcome.solved_at * BATCH, round(wrong))


def row(experiment: Experiment, learner: Learner, trials: list[Trial]) -> dict[str, Any]:
    """What is printed of one experiment and learner."""
    solved = sorted(t.solved_after for t in trials if t.solved_after)
    return {
        "experiment": experiment.name,
        "paper": experiment.sequences,
        "paper_wrong": experiment.wrong,
        "learner": learner.name,
        "solved": len(solved),
        "seeds": len(trials),
        "median": median(solved) if solved else None,
        "least": solved[0] if solved else None,
        "most": solved[-1] if solved else None,
        "wrong": median(t.wrong for t in trials),
    }


def rows(seeds: int, budget: int) -> Iterator[dict[str, Any]]:
    """One row per experiment and learner, as soon as it is measured."""
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(EXPERIMENTS) * len(LEARNERS) * seeds)
        for experiment in EXPERIMENTS:
            for learner in LEARNERS:
                trials = []
                for seed in range(seeds):
                    progress.update(bar, description=f"{experiment.name}: {learner.name}, seed {seed}")
                    trials.append(trial(experiment.task, learner, seed, budget))
                    progress.advance(bar)
                yield row(experiment, learner, trials)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--budget", type=int, default=BUDGET, help="sequences after which a trial counts as failed")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    # As `gateflow train` sets it: vanishing gradients are subnormal numbers, ten times as slow.
    torch.set_flush_denormal(True)
    found = list(rows(wanted.seeds, wanted.budget))
    if wanted.json:
        print(json.dumps(found))
        return
    columns = ("experiment", "paper", "learner", "sequences until solved", "solved", "wrong of 2,560")
    table = Table(*columns, box=None, header_style="bold", pad_edge=False, padding=(0, 3, 0, 0))
    for one in found:
        table.add_row(*_shown(one))
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a file has no edge at which to wrap
    console.print(table)


def _shown(found: dict[str, Any]) -> tuple[str, ...]:
    after = "{median:,.0f} ({least:,} to {most:,})".format(**found) if found["solved"] else "–"
    texts = (
        "{experiment}",
        "{paper:,}; {paper_wrong} wrong",
        "{learner}",
        after,
        "{solved} of {seeds}",
        "{wrong:,.0f}",
    )
    return tuple(text.format(**found) for text in texts)


if __name__ == "__main__":
    main()

"""What the network of a run reaches on gateflow's layers, and what the very same one reaches on torch's.

    python -m benchmarks.on_torch RUN … [--test FILE] [--layers gateflow,torch] [--seeds 0,1,2] [--json FILE]
        [--options beam=16,bleu_tokenize=none]

RUN is a run of any task, such as `gateflow train classifier --data films.tsv --out RUN` makes. Its options, data, order
of batches, initial weights, optimizer, loop and kept checkpoint are those of `gateflow train`, with each seed anew; on
torch's layers the model is that of `benchmarks.torch_layers`. A run that was trained on either is read by gateflow
afterwards, whose layers give the same answers, and judged as `gateflow evaluate` judges it: on the file that is given,
else on the fold that was left out, else on what it was validated on, with --options. Of several runs, such as folds,
there is one mean.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.torch_layers import on_torch
from gateflow.runs.run import Run
from gateflow.tasks import open_run
from gateflow.tasks.description import Given, TaskDescription, imported
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.start import begun_again
from gateflow.training.task import TrainingOutcome

# What is told of all that an evaluation finds, by the end of its name.
FIGURES = (
    *("accuracy", "micro.f1", "macro.f1", "rmse", "mae", "mase", "perplexity"),
    *("cer", "wer", "error_rate", "exact_match", "bleu.score"),
)


def trained(run: Run[Any], task: TaskDescription, layers: str) -> TrainingOutcome:
    """Train a run to its end, on the layers of gateflow or of torch."""
    config = run.config()
    built = task.part("build")(run, config, 0, 1)
    if layers == "torch":
        built.model = on_torch(built.model)
    return TrainingLoop(built, config.training, run, join_processes(config.training), callbacks=()).train()


def scores(
    run: Run[Any], task: TaskDescription, test: Path | None, given: Mapping[str, str]
) -> Iterator[tuple[str, float]]:
    """Those figures of `gateflow evaluate` that are told."""
    verb = task.verb("evaluate")
    assert verb is not None, f"the task {task.name} has no verb evaluate"
    options = {option.name: option.default for option in verb.options}
    kinds = {option.name: option.type for option in verb.options}
    asked = {name: kinds[name](text) for name, text in given.items()}
    found = imported(verb.function)(Given(run), **{**options, **asked, "data": test})
    whole = {name: x for name, x in found.json.items() if not name.startswith("by_")}
    return ((name, x) for name, x in _flat(whole) if any(f".{name}".endswith(f".{end}") for end in FIGURES))


def _flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, x in found.items():
        if isinstance(x, Mapping):
            yield from _flat(x, f"{before}{name}.")
        elif isinstance(x, (int, float)):
            yield before + name, float(x)


def judged(
    source: Path, layers: str, seed: int, test: Path | None, options: Mapping[str, str] | None = None
) -> dict[str, float]:
    """A training on the data of a run, and what there is to say of it."""
    run, task = open_run(source)
    config = run.config()
    config = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
    with TemporaryDirectory() as folder:
        again = begun_again(run, Path(folder, "run"), config, task.part("begin"))
        outcome = trained(again, task, layers)
        speed = outcome.targets / max(outcome.seconds, 1e-9)
        return {**dict(scores(again, task, test, options or {})), "updates": outcome.step, "targets a second": speed}


def show(found: Mapping[str, list[dict[str, float]]], console: Console) -> None:
    """Mean and deviation over seeds and runs."""
    first = next(iter(found.values()))
    table = Table("", *found, box=None)
    for name in first[0]:
        cells = []
        for each in found.values():
            values = [row[name] for row in each]
            spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{fmean(values):,.5g}{spread}")
        table.add_row(name, *cells)
    console.print(table)


def main(words: list[str] | None = None) -> None:
    """Train on each kind of layers with each seed, and print both beside each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--test", type=Path)
    parser.add_argument("--layers", type=lambda text: text.split(","), default=["gateflow", "torch"])
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--options", type=lambda text: dict(part.split("=") for part in text.split(",")), default={})
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(words)
    found: dict[str, list[dict[str, float]]] = {layers: [] for layers in given.layers}
    # In turns, so that whatever slows the machine down meets both.
    for source in given.runs:
        for seed in given.seeds:
            for layers, rows in found.items():
                rows.append(judged(source, layers, seed, given.test, given.options))
    show(found, Console(highlight=False))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What its peers reach on the sentences of a tagger: the same network on torch's layers, and a linear tagger.

    python -m benchmarks.tagger_peers --peer torch|linear --train train.conll --valid dev.conll [--test test.conll]
        [--columns upos] [--epochs 12] [--patience 8] [--seeds 0,1,2] [--json FILE]

Files, vocabulary, entities as BIOES, batches, loop, kept checkpoint and measures are those of ``gateflow train
tagger`` with its defaults. On torch's layers it is the same model with the same initial weights, see
`benchmarks.torch_layers`; its run is read by gateflow afterwards, whose layers give the same answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks import linear_tagger
from benchmarks.torch_layers import on_torch
from gateflow.data.tagged import TaggedSentence
from gateflow.tasks.tagger.config import TaggerConfig
from gateflow.tasks.tagger.data import read_as_learnt, set_up
from gateflow.tasks.tagger.evaluation import evaluate
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.run import TaggerRun
from gateflow.tasks.tagger.task import TaggerTask, own_sentences
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop


def parts_of(run: TaggerRun, test: Path | None) -> dict[str, list[TaggedSentence]]:
    """The sentences of a run, and those of the file that is read once."""
    vocabulary = load_vocabulary(run)
    parts = {part: own_sentences(run, vocabulary, part) for part in ("train", "valid")}
    return parts if test is None else {**parts, "test": read_as_learnt(test, run.config().data, vocabulary)}


def on_torchs_layers(run: TaggerRun, parts: dict[str, list[TaggedSentence]]) -> Iterator[tuple[str, float]]:
    """F1, or the share of right tags, in percent, after a training on `torch.nn.LSTM`."""
    config = run.config()
    task = TaggerTask(run, config)
    task.model = on_torch(task.model)
    outcome = TrainingLoop(task, config.training, run, join_processes(config.training), callbacks=()).train()
    Console().print(f"{outcome.step:,} updates in {outcome.seconds:.0f} s")
    vocabulary = load_vocabulary(run)
    for part in list(parts)[1:]:
        found = evaluate(load_model(run, vocabulary), vocabulary, parts[part])
        yield part, 100 * fmean(measures.micro().f1 for measures in found.measures.values())


def linear(run: TaggerRun, parts: dict[str, list[TaggedSentence]]) -> Iterator[tuple[str, float]]:
    """The same of a linear tagger."""
    config, (column,) = run.config().training, load_vocabulary(run).columns
    model = linear_tagger.train(parts, column, config.epochs, config.seed)
    for part in list(parts)[1:]:
        yield part, linear_tagger.score(model, parts[part])


def main() -> None:
    """Train with each seed; print what is reached on validation and, if it is given, on test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = {"torch": on_torchs_layers, "linear": linear}
    parser.add_argument("--peer", choices=peers, required=True)
    for part in ("train", "valid", "test"):
        parser.add_argument(f"--{part}", type=Path, required=part != "test")
    parser.add_argument("--columns", default="")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--patience", type=int)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found: dict[str, list[float]] = {}
    for seed in map(int, given.seeds.split(",")):
        training: dict[str, Any] = {"epochs": given.epochs, "seed": seed, "patience": given.patience}
        data = {"train": given.train, "valid": given.valid, "columns": given.columns}
        with TemporaryDirectory() as folder:
            run = set_up(Path(folder, "run"), TaggerConfig.build({"data": data, "training": training}))
            for part, score in peers[given.peer](run, parts_of(run, given.test)):
                found.setdefault(part, []).append(score)
    for part, scores in found.items():
        spread = f" ± {stdev(scores):.2f}" if len(scores) > 1 else ""
        Console().print(f"{given.peer}, {part}: {fmean(scores):.2f}{spread}")
    if given.json:
        given.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

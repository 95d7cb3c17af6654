"""One training of the agreement study: what it is asked for, how it is trained and measured, and its run.

It is a training of the task `gateflow.tasks.agreement` in a loop of its own, without files.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch

from gateflow import cells
from gateflow.data.agreement import LONGEST, Sentence
from gateflow.errors import ConfigError, ReferencePathWarning
from gateflow.remedies import clip
from gateflow.remedies.initial_weights import with_number
from gateflow.runs.new_run import new_run
from gateflow.runs.weights import unique_tensors, write_tensors
from gateflow.tasks.agreement.config import AgreementConfig
from gateflow.tasks.agreement.model import AgreementModel, accuracy, batches, bucket, encode, loss, reach
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.agreement.task import build_model, sentences_of
from gateflow.training.checkpoint import Checkpoint, Progress, random_state
from gateflow.training.metrics import MetricsLog, Record
from gateflow.training.warm_up import thrown_away

# Sentences on which accuracy and reach are measured. An accuracy of 0.5 is then known to 1.6 % (one standard error);
# reach takes a gradient per sentence, in float64.
TEST_SENTENCES, PROBE_SENTENCES = 1000, 150
# Updates per line of a kept run's metrics.jsonl, as in `gateflow train`.
_RECORDED_EVERY = 50
# Names of initial weights in older versions.
_FORMERLY = {"forget_bias": "forget"}


@dataclass(frozen=True)
class AgreementBudget:
    """One budget for every cell: sizes, number of updates, and how they are made."""

    updates: int = 600
    batch_size: int = 32
    embedding_size: int = 64
    hidden_size: int = 64
    learning_rate: float = 1e-2
    clip: float = 1.0
    word_share: float = 0.3


@dataclass(frozen=True)
class Entry:
    """One training of the study.

    Args:
        config: a cell's name, or ``name:weights`` such as ``lstm:chrono``.
        distances: a name of `gateflow.tasks.agreement.config.DISTANCES`.
        seed: of sentences and weights.
        budget: the same for all entries.
        keep: where the training becomes a run; none if it is not kept.

    Example:
        >>> Entry("lstm:chrono", "far", seed=0).cell
        'lstm'
    """

    config: str
    distances: str
    seed: int
    budget: AgreementBudget = field(default_factory=AgreementBudget)
    keep: Path | None = None

    def __post_init__(self) -> None:
        cells.get(self.cell)
        self.init()

    @property
    def cell(self) -> str:
        """The cell's name."""
        return self.config.partition(":")[0]

    def init(self) -> str | None:
        """The initial weights as ``--init`` takes them; none for torch's usual ones.

        Raises:
            ConfigError: there are none of that name.

        Example:
            >>> Entry("lstm:chrono", "far", seed=0).init()
            'chrono:60'
        """
        asked = self.config.partition(":")[2]
        try:
            # The number may be left out: the task says how far away a subject can be.
            return with_number(_FORMERLY.get(asked, asked), LONGEST) if asked else None
        except ConfigError as error:
            raise ConfigError(f"{self.config!r}: {error}") from None

    def run_config(self) -> AgreementConfig:
        """The same training as `gateflow train agreement` takes it; its AdamW without decay is Adam."""
        b = self.budget
        sentences = {"distances": self.distances, "sentences": b.updates * b.batch_size, "tested": TEST_SENTENCES}
        sizes = {"embedding_size": b.embedding_size, "hidden_size": b.hidden_size}
        model = {"cell": self.cell, "init": self.init(), "word_share": b.word_share, **sizes}
        training = {"batch_size": b.batch_size, "lr": b.learning_rate, "clip": b.clip, "seed": self.seed}
        return AgreementConfig.build({"data": sentences, "model": model, "training": training})


@dataclass(frozen=True)
class AgreementResult:
    """What one training came to; lists have one number for each of ``BUCKETS``, nearest first."""

    config: str
    distances: str
    seed: int
    parameters: int
    seconds: float
    loss: float
    accuracy: list[float]
    accuracy_by_attractors: list[float]
    reach_before: list[float]
    reach_after: list[float]


@dataclass
class _Trainer:
    """What an update needs apart from the model, and the records of a run that is kept."""

    optimizer: torch.optim.Optimizer
    clipper: clip.NormClipper
    records: list[Record] = field(default_factory=list)

    @classmethod
    def of(cls, model: AgreementModel, budget: AgreementBudget) -> _Trainer:
        """A new one."""
        optimizer = torch.optim.Adam(model.parameters(), lr=budget.learning_rate)
        return cls(optimizer, clip.NormClipper(model, threshold=budget.clip))

    def note(self, curve: Sequence[float], total: int, seconds: float) -> None:
        """A record every so many updates, as the training loop writes it."""
        done = len(curve)
        if done % _RECORDED_EVERY and done < total:
            return
        norms, recent = self.clipper.statistics(), curve[(done - 1) // _RECORDED_EVERY * _RECORDED_EVERY :]
        record: Record = {"kind": "train", "step": done, "epoch": round(done / total, 4)}
        record |= {"loss": sum(recent) / len(recent), "lr": self.optimizer.param_groups[0]["lr"]}
        record |= {"gradient_norm": norms["norm_p50"], "clipped": norms["clipped_share"], "skipped": norms["skipped"]}
        self.records.append({**record, "seconds": round(seconds, 3)})


def train_one(entry: Entry, on_update: Callable[[float], None] = lambda loss: None) -> AgreementResult:
    """Train one configuration and measure it; attractors are counted 0, 1, 2, 3, 4 or more.

    Example:
        >>> result = train_one(Entry("gru", "all", seed=0, budget=AgreementBudget(updates=2, hidden_size=8)))
        >>> len(result.accuracy), len(result.reach_before)
        (5, 5)
    """
    budget, config = entry.budget, entry.run_config()
    sentences, test = sentences_of(config)
    probe = test[:PROBE_SENTENCES]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # `gateflow doctor` says it; ten processes would say it ten times.
        warnings.simplefilter("ignore", ReferencePathWarning)
        torch.manual_seed(entry.seed)
        model = build_model(config.model)
        # In float64, on a copy: the model is trained from the weights that were measured.
        before = reach(model, probe, bucket)
        warm_up(model, sentences, budget)
        trainer, start = _Trainer.of(model, budget), perf_counter()
        curve = train(model, sentences, budget, entry.seed, on_update, trainer)
        seconds, last = perf_counter() - start, curve[-_RECORDED_EVERY:]
        if entry.keep is not None:
            _keep(entry.keep, config, model, trainer, test, seconds)
        return AgreementResult(
            entry.config,
            entry.distances,
            entry.seed,
            parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=seconds,
            loss=sum(last) / len(last),  # of one batch it would say little
            accuracy=list(accuracy(model, test, bucket).values()),
            accuracy_by_attractors=list(accuracy(model, test, lambda s: min(s.attractors, 4)).values()),
            reach_before=list(before.values()),
            reach_after=list(reach(model, probe, bucket).values()),
        )


def train(
    model: AgreementModel,
    sentences: Sequence[Sentence],
    budget: AgreementBudget,
    seed: int = 0,
    on_update: Callable[[float], None] = lambda loss: None,
    trainer: _Trainer | None = None,
) -> list[float]:
    """Train by Adam with clipped gradients; return the loss of every update, ``len(sentences) / batch_size`` of them.

    Example:
        >>> from gateflow.data.agreement import split
        >>> len(train(AgreementModel("lstm"), split(64, 0, seed=0)[0], AgreementBudget(batch_size=16)))
        4
    """
    trainer, began = trainer or _Trainer.of(model, budget), perf_counter()
    total, curve = -(-len(sentences) // budget.batch_size), list[float]()
    for batch in batches(sentences, budget.batch_size, seed):
        trainer.optimizer.zero_grad()
        value = loss(model, batch, budget.word_share)
        value.backward()
        if trainer.clipper.step():
            trainer.optimizer.step()
        curve.append(value.item())
        trainer.note(curve, total, perf_counter() - began)
        on_update(curve[-1])
    return curve


def warm_up(model: AgreementModel, sentences: Sequence[Sentence], budget: AgreementBudget) -> None:
    """Build the kernels of a training, whose time is none of its seconds, and leave no other trace.

    Example:
        >>> from random import Random
        >>> from gateflow.data.agreement import draw
        >>> model = AgreementModel("gru")
        >>> warm_up(model, [draw(Random(0), distance=3)], AgreementBudget())
        >>> model.embedding.weight.grad is None
        True
    """
    with thrown_away(model):
        loss(model, encode(sentences[: budget.batch_size]), budget.word_share).backward()


def _keep(
    path: Path,
    config: AgreementConfig,
    model: AgreementModel,
    trainer: _Trainer,
    test: Sequence[Sentence],
    seconds: float,
) -> None:
    """Make a finished training a run that every verb can open; one that is there is replaced."""
    (share,) = accuracy(model, test, lambda sentence: 0).values()
    clipper, sentences = trainer.clipper.state_dict(), config.data.sentences
    progress = Progress(step=trainer.clipper.steps, epoch=1, best=share, targets=sentences, seconds=seconds)
    progress.clipper = clipper
    with new_run(AgreementRun, path, config, force=True) as run:
        write_tensors(run.model_file, unique_tensors(model))
        log = MetricsLog(run.metrics_file)
        for record in trainer.records:
            log.append(record)
        # As the loop does: lines are on the disk before the checkpoint that counts on them.
        log.flush()
        checkpoint = Checkpoint.of(model, trainer.optimizer, progress, random=[random_state()])
        checkpoint.write(run.checkpoint_file)

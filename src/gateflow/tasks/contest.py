"""Agreement as a contest: every cell on the same sentences with the same budget, several trainings side by side."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import count
from multiprocessing.sharedctypes import Synchronized
from time import perf_counter

import torch

from gateflow import cells
from gateflow.data.agreement import LONGEST, Sentence, split
from gateflow.errors import ConfigError, ReferencePathWarning
from gateflow.flow import Report, diagnose
from gateflow.remedies import init
from gateflow.tasks.agreement import DIETS, AgreementModel, Budget, accuracy, bucket, encode, loss, reach, train
from gateflow.tasks.warm_up import thrown_away

INITS: dict[str, Callable[[AgreementModel], None]] = {
    "": lambda model: None,
    "chrono": lambda model: init.chrono(model, max_lag=LONGEST),
    "forget_bias": init.forget_bias,
    "orthogonal": init.orthogonal,
    "identity": init.identity,
}
TEST_SENTENCES, PROBE_SENTENCES, _REPORTED = 1000, 150, 8


@dataclass(frozen=True)
class Entry:
    """One training: ``contender`` is a cell's name, or ``name:weights`` such as ``lstm:chrono``; ``diet`` of `DIETS`.

    Example:
        >>> Entry("lstm:chrono", "far", seed=0).cell
        'lstm'
    """

    contender: str
    diet: str
    seed: int
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        cells.get(self.cell)
        if self.weights not in INITS:
            known = ", ".join(name for name in INITS if name)
            raise ConfigError(f"{self.contender!r}: no initial weights are called {self.weights!r}; there are {known}.")

    @property
    def cell(self) -> str:
        """The cell's name."""
        return self.contender.partition(":")[0]

    @property
    def weights(self) -> str:
        """The name of the initial weights; empty for torch's usual ones."""
        return self.contender.partition(":")[2]


@dataclass(frozen=True)
class Result:
    """What one training came to; lists have one number for each of ``BUCKETS``, nearest first."""

    contender: str
    diet: str
    seed: int
    parameters: int
    seconds: float
    loss: float
    accuracy: list[float]
    accuracy_by_attractors: list[float]
    reach_before: list[float]
    reach_after: list[float]


def run(entry: Entry, on_update: Callable[[float], None] = lambda loss: None) -> Result:
    """Train one contender and measure it; attractors are counted 0, 1, 2, 3, 4 or more.

    Example:
        >>> result = run(Entry("gru", "all", seed=0, budget=Budget(updates=2, hidden_size=8)))
        >>> len(result.accuracy), len(result.reach_before)
        (5, 5)
    """
    budget = entry.budget
    sentences, test = split(budget.updates * budget.batch_size, TEST_SENTENCES, entry.seed, DIETS[entry.diet])
    probe = test[:PROBE_SENTENCES]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", ReferencePathWarning)
        torch.manual_seed(entry.seed)
        model = AgreementModel(entry.cell, budget.embedding_size, budget.hidden_size)
        INITS[entry.weights](model)
        before = reach(model, probe, bucket)
        warm_up(model, sentences, budget)
        start = perf_counter()
        curve = train(model, sentences, budget, entry.seed, on_update)
        return Result(
            entry.contender,
            entry.diet,
            entry.seed,
            parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=perf_counter() - start,
            loss=sum(curve[-50:]) / len(curve[-50:]),
            accuracy=list(accuracy(model, test, bucket).values()),
            accuracy_by_attractors=list(accuracy(model, test, lambda s: min(s.attractors, 4)).values()),
            reach_before=list(before.values()),
            reach_after=list(reach(model, probe, bucket).values()),
        )


def warm_up(model: AgreementModel, sentences: Sequence[Sentence], budget: Budget) -> None:
    """Build the kernels of a training, whose time is none of its seconds, and leave no other trace.

    Example:
        >>> from random import Random
        >>> from gateflow.data.agreement import draw
        >>> model = AgreementModel("gru")
        >>> warm_up(model, [draw(Random(0), distance=3)], Budget())
        >>> model.embedding.weight.grad is None
        True
    """
    with thrown_away(model):
        loss(model, encode(sentences[: budget.batch_size]), budget.word_share).backward()


def flow_report(contender: str, seed: int = 0) -> Report:
    """The gradient flow of a contender before training, on the far sentences, where the verb needs up to 60 words.

    Example:
        >>> flow_report("lstm").findings[0].severity
        'problem'
    """
    budget, entry = Budget(), Entry(contender, "far", seed)
    sentences = split(0, PROBE_SENTENCES, seed, DIETS["far"])[1]
    farthest = sorted(sentences, key=lambda sentence: -sentence.distance)[:_REPORTED]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AgreementModel(entry.cell, budget.embedding_size, budget.hidden_size)
        INITS[entry.weights](model)
    tokens = farthest[0].tokens
    batch, share = encode(farthest), budget.word_share
    found = diagnose(model, batch, lambda _, batch: loss(model, batch, share), needed_lag=LONGEST, tokens=tokens[:-1])
    title = {"title": f"Gradient flow of {contender} before training, verb and subject far apart"}
    return replace(found, context={**found.context, **title})


def compete(entries: Sequence[Entry], workers: int, on_progress: Callable[[int], None]) -> list[Result]:
    """Run all entries in ``workers`` processes of one thread each (1: here) and report the updates done so far.

    Example:
        >>> tiny = Budget(updates=1, hidden_size=4)
        >>> [r.contender for r in compete([Entry("lstm", "all", 0, tiny), Entry("gru", "all", 0, tiny)], 1, print)]
        1
        2
        ['lstm', 'gru']
    """
    if workers == 1:
        updates = count(1)
        return [run(entry, lambda loss: on_progress(next(updates))) for entry in entries]
    context = multiprocessing.get_context("spawn")
    done = context.Value("l", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, (done,)) as pool:
        futures = [pool.submit(_run_counted, entry) for entry in entries]
        try:
            while wait(futures, timeout=0.2).not_done:
                on_progress(done.value)
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker(done: Synchronized[int]) -> None:
    global _done
    _done = done
    torch.set_num_threads(1)


def _run_counted(entry: Entry) -> Result:
    def count_one(loss: float) -> None:
        with _done.get_lock():
            _done.value += 1

    return run(entry, count_one)


_done: Synchronized[int]

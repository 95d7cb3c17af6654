"""The agreement study: every cell on the same sentences with the same budget, several trainings side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import replace
from itertools import count
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from types import MappingProxyType

import torch

from gateflow.data.agreement import LONGEST
from gateflow.errors import ConfigError
from gateflow.flow import Report, diagnose
from gateflow.runs.new_run import refuse_what_is_there
from gateflow.studies.agreement_training import PROBE_SENTENCES, AgreementBudget, AgreementResult, Entry, train_one
from gateflow.tasks.agreement.config import DISTANCES
from gateflow.tasks.agreement.inference import farthest, first_row
from gateflow.tasks.agreement.model import encode, loss
from gateflow.tasks.agreement.run import AgreementRun
from gateflow.tasks.agreement.task import build_model, unseen_sentences
from gateflow.tasks.diagnosis import for_task

# Trainings that become runs: on far sentences alone, where the initial weights decide who learns, so that other
# verbs show the difference.
KEPT, KEPT_DISTANCES = ("lstm", "lstm:chrono"), "far"


def entries_of(
    configs: Sequence[str], seeds: range, budget: AgreementBudget, kept: Mapping[str, Path] = MappingProxyType({})
) -> list[Entry]:
    """All trainings of the study: each configuration on all and on far distances, with each seed.

    Args:
        configs: as an `Entry` names them.
        seeds: the first is that of the runs that are kept.
        budget: the same for all.
        kept: of `kept_at`.

    Example:
        >>> len(entries_of(["lstm", "gru"], range(3), AgreementBudget()))
        12
    """
    entries = [Entry(config, d, seed, budget) for d in DISTANCES for config in configs for seed in seeds]
    chosen = {(config, KEPT_DISTANCES, seeds[0]): path for config, path in kept.items()}
    return [replace(entry, keep=chosen.get((entry.config, entry.distances, entry.seed))) for entry in entries]


def kept_at(folder: Path, configs: Sequence[str]) -> dict[str, Path]:
    """Where the trainings that are kept become runs.

    Example:
        >>> {config: path.name for config, path in kept_at(Path("runs"), ["gru", "lstm:chrono"]).items()}
        {'lstm:chrono': 'lstm-chrono'}
    """
    return {config: folder / config.replace(":", "-") for config in KEPT if config in configs}


def refuse_taken(paths: Iterable[Path], force: bool) -> None:
    """Refuse places where something is; with `force`, where it is no run of this task.

    Raises:
        ConfigError, RunError: there is something.
    """
    for path in paths:
        if path.exists() and not force:
            raise ConfigError(f"{path} exists; choose another folder with --runs, or replace it with --force.")
        refuse_what_is_there(AgreementRun, path, force)


def flow_report(config: str, seed: int = 0) -> Report:
    """The gradient flow of a configuration before training, on the far sentences, where the verb needs up to 60 words.

    Example:
        >>> flow_report("lstm").findings[0].severity
        'problem'
    """
    whole = Entry(config, "far", seed).run_config()
    chosen = farthest(unseen_sentences(whole, PROBE_SENTENCES))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(whole.model)
    batch, share, of_first = encode(chosen), whole.model.word_share, first_row(chosen[0])
    found = diagnose(
        model,
        batch,
        lambda _, batch: loss(model, batch, share, by_length=True),
        needed_lag=LONGEST,
        **of_first,
    )
    title = {"title": f"Gradient flow of {config} before training, verb and subject far apart"}
    findings = tuple(for_task(finding, whole) for finding in found.findings)
    return replace(found, findings=findings, context={**found.context, **title})


def train_all(entries: Sequence[Entry], workers: int, on_progress: Callable[[int], None]) -> list[AgreementResult]:
    """Run all entries in ``workers`` processes of one thread each (1: here) and report the updates done so far.

    Example:
        >>> tiny = AgreementBudget(updates=1, hidden_size=4)
        >>> [r.config for r in train_all([Entry("lstm", "all", 0, tiny), Entry("gru", "all", 0, tiny)], 1, print)]
        1
        2
        ['lstm', 'gru']
    """
    if workers == 1:
        updates = count(1)
        return [train_one(entry, lambda loss: on_progress(next(updates))) for entry in entries]
    # Not forked: the threads of torch that a fork would leave behind hold locks.
    context = multiprocessing.get_context("spawn")
    done = context.Value("l", 0)
    with ProcessPoolExecutor(workers, context, _start_worker, (done,)) as pool:
        futures = [pool.submit(_run_counted, entry) for entry in entries]
        try:
            while wait(futures, timeout=0.2).not_done:  # five times a second the bar is moved
                on_progress(done.value)
            return [future.result() for future in futures]
        finally:
            # After Ctrl-C no further training begins.
            pool.shutdown(wait=False, cancel_futures=True)


def _start_worker(done: Synchronized[int]) -> None:
    global _done
    _done = done
    # As many processes as cores: more threads would wait for each other.
    torch.set_num_threads(1)


def _run_counted(entry: Entry) -> AgreementResult:
    def count_one(loss: float) -> None:
        with _done.get_lock():
            _done.value += 1

    return train_one(entry, count_one)


_done: Synchronized[int]

"""The memory that a training takes at its peak, in a process of its own: in this one others have left theirs."""

from __future__ import annotations

import multiprocessing
import re
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from gateflow.backends.cpu.process import prepare_process
from gateflow.runs.trust import Trust
from gateflow.tasks import description
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

__all__ = ["peak_of_training"]

# A process that begins, imports torch and makes some updates takes seconds; one that says nothing has died.
PATIENCE = 600


def peak_of_training(task: str, run: Path) -> int | None:
    """Bytes that training a run takes beyond what the process had before; of a GPU all that torch has taken of it.

    Args:
        task: the run's, by name.
        run: at its first step, with few updates to go.

    Returns:
        None where the process could not tell: for a task that is in no list of a new process, and on a CPU anywhere but
        on Linux, whose `/proc` alone knows the peak since a moment.
    """
    # Not by fork: threads of torch do not survive it.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_train, args=(task, str(run), theirs))
    child.start()
    theirs.close()
    found: int | None = None
    with suppress(EOFError):
        found = ours.recv() if ours.poll(PATIENCE) else None
    if child.is_alive() and found is None:
        child.kill()
    child.join()
    return found


def _train(task: str, path: str, answer: Connection) -> None:
    prepare_process()
    described = description(task)
    # Whoever compares has typed what is trained.
    run = described.part("run").open(Path(path), Trust(everything=True))
    config, build = run.config(), described.part("build")
    _load_what_any_training_loads()
    before = _peak_from_now_on()
    loop = TrainingLoop(build(run, config, 0, 1), config.training, run, join_processes(config.training))
    loop.train()
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    reached = _peak()
    taken = None if before is None or reached is None else reached - before
    answer.send(torch.cuda.max_memory_allocated() if on_gpu else taken)
    answer.close()


def _load_what_any_training_loads() -> None:
    # An optimizer's first step imports a hundred megabytes of torch, which no network is to be charged with, as little
    # as with the modules of its task, which are there when it is asked how it is built.
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.sum().backward()
    torch.optim.AdamW([weight]).step()


def _peak_from_now_on() -> int | None:
    # What importing has taken and given back would hide as much of what the training takes.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _peak()
    return None


def _peak() -> int | None:
    # Not `ru_maxrss`: a program keeps that of the process that started it, so that after a large one the answer is 0.
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None

"""One training that is left alone, and one in child processes that are killed at random moments and then end.

Usage: ``python -m tests.training.killed_again_and_again MODULE:FUNCTION FOLDER SEED KILLS PROCESSES [torchrun]``, where
the function is given the place of a run and returns what a child is to do: set it up, or go on. The runs are
FOLDER/whole and FOLDER/killed; it prints each moment and what was killed then.

It forks, so that a kill costs no new import of torch, and is a program of its own, so that pytest is not what forks.
Several forked processes find each other as those of torchrun do; with ``torchrun`` it is torchrun that starts them, and
at every other moment one of them alone is killed.
"""

from __future__ import annotations

import importlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import torch
import torch._dynamo
from tests.training.tiny import EchoRun, EchoTask, echo_run

from gateflow.cli import main as gateflow
from gateflow.cli import training
from gateflow.training.distributed import join_processes
from gateflow.training.loop import TrainingLoop

# Imported before the forks, so that no child has to: optimizers ask for the first.
LOADED = torch._dynamo, training

OPTIONS = {"epochs": 100, "checkpoint_every": 5, "validate_every": 4, "clip": "auto"}
DROPOUT = 0.2
# A moment of a process that was killed may be that of another, which then ends by itself, or waits for it in vain.
PATIENCE = 60

# Looks, and neither waits nor takes the exit code away.
_HAS_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT

Child = Callable[[], None]


def echo(path: Path) -> Child:
    """Train `Echo`: set the run up if a killed process has not, and go on."""

    def train() -> None:
        torch.set_num_threads(1)
        if not path.exists():
            echo_run(path, DROPOUT, **OPTIONS)
        run = EchoRun.open(path)
        TrainingLoop(EchoTask(DROPOUT), run.config().training, run, join_processes(run.config().training)).train()

    return train


class Command:
    """A command of gateflow: the one that sets up and trains, or the one that goes on, where there is a run already."""

    def __init__(self, path: Path, *words: object) -> None:
        self.words = ["resume", str(path)] if path.exists() else [*map(str, words), "--out", str(path)]

    def __call__(self) -> None:
        """Run it in this process, which it ends."""
        gateflow(self.words)


def forked(child: Child, processes: int, log: Path) -> list[int]:
    """As many processes as one training has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(processes):
        if (pid := os.fork()) == 0:
            _be(child, rank, processes, port, log)
        pids.append(pid)
    return pids


def _be(child: Child, rank: int, processes: int, port: int, log: Path) -> None:
    """Become one of them."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if processes > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    code = 1
    try:
        child()
        code = 0
    except SystemExit as left:
        code = int(left.code or 0)
    finally:
        # Nothing of the parent's is tidied up here.
        os._exit(code)


def by_torchrun(child: Command, processes: int, log: Path) -> list[int]:
    """The process of torchrun, which starts the others."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with log.open("a") as out:
        return [subprocess.Popen([*start, "-m", "gateflow", *child.words], stdout=out, stderr=out).pid]


def kill(pids: list[int], chance: random.Random, *, one: bool) -> str:
    """Kill them and what they have started; or one of those alone, and the rest if it does not end in time."""
    begun = [process for pid in pids for process in _family(pid)]
    if one and len(begun) > len(pids):
        chance.choice(begun[len(pids) :]).kill()
        _wait(pids)
    for process in begun:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return "one" if one else "all"


def _wait(pids: list[int]) -> None:
    """Until they have ended, or for so long; their exit codes stay where `ended` finds them."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and any(os.waitid(os.P_PID, pid, _HAS_ENDED) is None for pid in pids):
        time.sleep(0.05)


def _family(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def ended(pids: list[int]) -> list[int]:
    """The exit codes, once all have ended; of what was killed the signal, negative."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def left_alone(start: Callable[[], list[int]], metrics: Path) -> tuple[float, float]:
    """Seconds to the first record and to the end of a training that nobody kills."""
    began, first, pids = time.monotonic(), 0.0, start()
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() - began < PATIENCE:
        time.sleep(0.005)
    first = time.monotonic() - began
    codes = ended(pids)
    assert not any(codes), f"left alone the training ends with {codes}"
    return first, time.monotonic() - began


def main(place: str, folder: Path, seed: int, kills: int, processes: int, starting: Callable[..., list[int]]) -> None:
    """Train once; then start, wait a random time, kill, as often as asked; then let it come to the end."""
    module, _, name = place.partition(":")
    prepared, log = getattr(importlib.import_module(module), name), folder / "log"

    def start(run: Path) -> list[int]:
        return starting(prepared(run), processes, log)

    first, whole = left_alone(lambda: start(folder / "whole"), folder / "whole" / "metrics.jsonl")
    # On average the last kill comes when the training is about to end.
    within, chance = first + 2 * (whole - first) / kills, random.Random(seed)
    print(f"seed {seed}: first record after {first:.2f} s, whole {whole:.2f} s, within {within:.2f} s")  # noqa: T201
    for number in range(kills):
        moment, pids = chance.uniform(0, within), start(folder / "killed")
        time.sleep(moment)
        what = kill(pids, chance, one=starting is by_torchrun and number % 2 == 1)
        codes = ended(pids)
        print(f"{moment:.3f} {what} {codes}")  # noqa: T201
        if not any(codes):
            break
    codes = ended(start(folder / "killed"))
    assert not any(codes), f"the last time it ends with {codes}"


if __name__ == "__main__":
    seed_, kills_, processes_ = map(int, sys.argv[3:6])
    main(sys.argv[1], Path(sys.argv[2]), seed_, kills_, processes_, by_torchrun if sys.argv[6:] else forked)

"""Stress: two things that speed is lost to: vanishing gradients that become subnormal numbers, and a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from benchmarks.shapes import Shape, parse
from gateflow import Recurrent
from gateflow.benchmarking.peers import training
from gateflow.benchmarking.timing import Call, Timing, interleaved

LONG = parse("32/200/128/128")
LOADED = parse("32/100/256/256")
WHERES = ("loss at all steps", "loss at the end")
WHENS = ("alone", "under load")


def subnormal(shape: Shape = LONG, rounds: int = 7) -> dict[str, Timing]:
    """A training step of a default LSTM with the loss at all steps, and with the loss at the end only."""
    return interleaved(
        {f"{name}, {where}": _step(layer, shape, where) for name, layer in _layers(shape).items() for where in WHERES},
        rounds=rounds,
        seconds=10,
    )


def load(shape: Shape = LOADED, rounds: int = 7) -> dict[str, Timing]:
    """A training step alone, and while another process keeps each core busy."""
    steps = {name: _step(layer, shape, WHERES[0]) for name, layer in _layers(shape).items()}
    # Longer than a time slice of the scheduler, of which a busy machine gives every process some.
    alone = interleaved(steps, rounds=rounds, long_enough=0.3)
    with busy_cores():
        loaded = interleaved(steps, rounds=rounds, long_enough=0.3)
    return {f"{n}, {when}": t for when, times in zip(WHENS, (alone, loaded), strict=True) for n, t in times.items()}


def _layers(shape: Shape) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    ours, theirs = Recurrent("lstm", shape.I, shape.H), nn.LSTM(shape.I, shape.H)
    theirs.load_state_dict(ours.state_dict())
    return {"ours": ours, "torch_nn": theirs}


def _step(layer: nn.Module, shape: Shape, where: str) -> Call:
    """The gradient of a mean over all outputs or over the last ones."""
    x, cotangent = torch.randn(shape.T, shape.B, shape.I), torch.zeros(shape.T, shape.B, shape.H)
    wanted = cotangent if where == WHERES[0] else cotangent[-1:]
    # A mean, as most losses are.
    wanted.fill_(1 / wanted.numel())
    return training(layer, x, cotangent)


@contextmanager
def busy_cores(count: int | None = None, seconds: float = 120) -> Iterator[None]:
    """Processes that do nothing but turn, one per core or `count`; each ends by itself too."""
    turn = f"import time; end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Processes, for threads of one would share its lock.
    others = [subprocess.Popen([sys.executable, "-c", turn]) for _ in range(count or cores)]
    try:
        # Until the interpreters have started, which is work of another kind.
        time.sleep(0.5)
        yield
    finally:
        for process in others:
            process.kill()
            process.wait()

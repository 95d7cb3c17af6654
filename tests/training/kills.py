"""What tests say of a training that is killed again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from tests.training import killed_again_and_again

from gateflow.runs.run import Run
from gateflow.training.checkpoint import Checkpoint
from gateflow.training.metrics import MetricsLog


def kill_again_and_again(
    training: str, folder: Path, *, seed: int, kills: int, processes: int = 1, how: str = ""
) -> None:
    """Train alone and under kills, print when these came, and compare the runs; some of the kills at least hit it.

    Args:
        training: ``module:function``, see `killed_again_and_again`.
        folder: for both runs.
        seed, kills, processes: of the moments, how many, and processes of one training.
        how: "torchrun" to have them started by it.
    """
    words = [training, str(folder), str(seed), str(kills), str(processes), *([how] if how else [])]
    command = [sys.executable, "-m", killed_again_and_again.__name__, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    sys.stdout.write(done.stdout)
    log = folder / "log"
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    hit = sum(not line.endswith(str([0] * (1 if how else processes))) for line in done.stdout.splitlines()[1:])
    # Moments are drawn by the time that the training took when left alone; beside other work that may be far off.
    assert hit >= max(1, kills // 3), f"{hit} kills hit it:\n{done.stdout}"
    assert_same_course(Run.open(folder / "killed"), Run.open(folder / "whole"))


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what differs between two runs of one seed."""
    return {name: x for name, x in record.items() if name != "seconds" and not name.endswith("_per_second")}


def assert_same_course(run: Run, other: Run) -> None:
    """Equal losses, and the same weights to the bit, the best and the last; nothing half written is left."""
    courses = ([untimed(r) for r in MetricsLog(x.metrics_file).read() if r.get("kind") != "flow"] for x in (run, other))
    ours, theirs = courses
    assert ours == theirs
    assert run.model_file.read_bytes() == other.model_file.read_bytes()
    left, right = (Checkpoint.read(x.checkpoint_file).tensors for x in (run, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [path for path in run.path.parent.rglob(".*") if path.is_file()] == []

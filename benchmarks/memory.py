"""Peak memory of one training step, each candidate in a process of its own: by how much the resident set rises.

    python -m benchmarks.memory fast 64/200/512/512        prints bytes

The rise holds all that the step needs: what it saves for the backward pass, its scratch, output and gradients. The
weights and the input are there before. A step on a shape of two time steps comes first, so that libraries are loaded.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Absent
from benchmarks.shapes import Shape, parse
from gateflow import Recurrent
from gateflow.benchmarking.peers import training
from gateflow.errors import ReferencePathWarning

CANDIDATES = ("torch_nn", "default", "fast", "lean")
SHAPE = parse("64/200/512/512")


def peak_memory(shape: Shape = SHAPE, candidates: Sequence[str] = CANDIDATES) -> dict[str, int | str]:
    """Bytes for each candidate, or the reason why there are none."""
    return {candidate: _in_a_child(candidate, shape) for candidate in candidates}


def _in_a_child(candidate: str, shape: Shape) -> int | str:
    # A process each: the high-water mark of one candidate would hide the next.
    words = [sys.executable, "-m", "benchmarks.memory", candidate, shape.name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip() or f"the process ended with code {done.returncode}").splitlines()[-1]
    return int(done.stdout)


def rise(candidate: str, shape: Shape) -> int:
    """By how many bytes the resident set rises while the candidate trains for one step.

    Raises:
        Absent: the candidate or the measurement does not exist here.
    """
    layer, x = built(candidate, shape), torch.randn(shape.T, shape.B, shape.I)
    cotangent = torch.randn(shape.T, shape.B, shape.H)
    # Two steps: libraries are loaded and kernels built, and little memory is taken.
    training(layer, x[:2].clone(), cotangent[:2])()
    layer.zero_grad(set_to_none=True)
    step = training(layer, x, cotangent)
    # Libraries and weights have been higher before.
    _forget_the_peak()
    before = _status("VmRSS")
    step()
    return _status("VmHWM") - before


def built(candidate: str, shape: Shape) -> nn.Module:
    """The LSTM that the candidate stands for."""
    if candidate == "torch_nn":
        return nn.LSTM(shape.I, shape.H)
    options: dict[str, Any] = {} if candidate == "default" else {"memory": candidate}
    try:
        return Recurrent("lstm", shape.I, shape.H, **options)
    except TypeError as error:
        raise Absent(str(error).split(";")[0]) from None


def _forget_the_peak() -> None:
    """Linux starts to look for the highest resident set again."""
    try:
        # 5 resets the high-water mark, see proc(5).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        raise Absent(f"peak memory is read from Linux's /proc: {error}") from None


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = (line for line in lines if line.startswith(field + ":"))
    return 1024 * int(found.split()[1])


if __name__ == "__main__":
    warnings.simplefilter("ignore", ReferencePathWarning)
    try:
        print(rise(sys.argv[1], parse(sys.argv[2])))
    except Absent as reason:
        sys.exit(str(reason))

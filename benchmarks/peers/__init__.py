"""Who is measured next to gateflow. Each file says how its peer computes a `Problem`, or why it is `Absent`."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Problem
from benchmarks.peers import compiled, eager, haste, jax_scan, onnx_runtime, ours, torch_nn
from gateflow.benchmarking.timing import Call

Build = Callable[[Problem], Call]

PEERS: dict[str, Build] = {
    "torch_nn": torch_nn.build,
    "eager": eager.build,
    "compile": compiled.build,
    "jax": jax_scan.build,
    "onnx": onnx_runtime.build,
    "haste": haste.build,
}
OURS: Build = ours.build

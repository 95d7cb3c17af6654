"""haste: fused LSTM and GRU kernels for CUDA. Listed so that nobody wonders: on a CPU there is nothing to measure."""

from __future__ import annotations

from typing import NoReturn

from benchmarks.cases import Absent, Problem


def build(problem: Problem) -> NoReturn:
    """Always absent, with what was found when it was tried."""
    raise Absent(
        "haste_pytorch 0.4.0 did not build when tried: it asks nvcc for compute_37, which CUDA 13 has dropped, and for "
        "headers of CUDA that torch for the CPU lacks; without a GPU its layers are loops in TorchScript"
    )

"""haste: fused LSTM and GRU kernels for CUDA. Listed so that nobody wonders: on a CPU there is nothing to measure."""

from __future__ import annotations

from typing import NoReturn

from benchmarks.cases import Absent, Problem


def build(problem: Problem) -> NoReturn:
    """Always absent, with what was found when it was tried."""
    raise Absent(
        "haste_pytorch 0.4.0 does not build: its Makefile asks nvcc for compute_37, which CUDA 13 dropped, and its "
        "extension for CUDA headers that torch for the CPU lacks; without a GPU its layers are TorchScript loops"
    )

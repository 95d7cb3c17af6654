"""Runs the loops of some cells in every way there is: ``check`` builds them under sanitizers and runs this.

One thread or some, which share out samples, units or both; plain or ragged; all kept or computed again.
"""

from __future__ import annotations

import functools
import sys
from array import array

import torch
from tests.recurrence.case import Case, assert_same

from gateflow import cells
from gateflow.backends.cpu import gemm, launch, toolchain
from gateflow.backends.cpu.partition import divided

CELLS = ("lstm", "full_gru", "layernorm_gru", "projected_lstm")
toolchain.FLAGS = tuple("-O1" if flag == "-O3" else flag for flag in toolchain.FLAGS)  # sanitizers make enough work
gemm.blas, gemm.WORTH_THREADS = lambda dtype: array("q", [0, 0, 0]), 0  # nothing that a sanitizer cannot see into
LENGTHS = [3, 7, 0, 1, 7, 2, 5, 4, 4]


def cases(name: str):
    """Sizes that fill vectors and tiles, and sizes that do not."""
    for H, B, memory in ((5, 9, "fast"), (33, 9, "lean"), (64, 2, "fast")):
        both = tuple(cells.get(name)(3, H, dtype=torch.float64) for _ in range(2))
        yield Case(both, 7, B, memory=memory)
        yield Case(both, 7, B, LENGTHS[:B], memory=memory)


def main() -> int:
    """Judges by the reference, so that a run that computes nothing is seen."""
    for name in CELLS:
        for case in cases(name):
            wanted = case.run("reference")
            for groups, parts in ((1, 1), (3, 1), (1, 3), (2, 2)):
                torch.set_num_threads(groups * parts)
                launch.partition = functools.partial(divided, groups, parts)
                assert_same(case.run("native"), wanted, 1e-11, f"{case} {groups} groups, {parts} parts")
            torch.set_num_threads(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

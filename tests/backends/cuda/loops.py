"""Runs emulated kernels for GPUs in every way there is: `make check-native` builds them under sanitizers and runs this.

ThreadSanitizer takes each lane for a thread (`emulated.h`): what one reads of another must be on the tape, or have a
barrier between. AddressSanitizer sees what is read or written beyond a tensor or a block's shared memory.
"""

from __future__ import annotations

import sys
import warnings

import torch
from tests.backends.cuda.emulation import Emulation
from tests.recurrence.case import Case, assert_same

from gateflow import cells
from gateflow.backends import BACKENDS
from gateflow.backends.cpu import toolchain
from gateflow.backends.cuda import CUDA
from gateflow.errors import ReferencePathWarning

# Products with one and with several waits for others, and totals; each another text, and half a minute of a compiler.
RUNS = [("lstm", 10, False), ("lstm", 10, True), ("full_gru", 21, False), ("layernorm_lstm", 10, True)]
toolchain.FLAGS = tuple("-O1" if flag == "-O3" else flag for flag in toolchain.FLAGS)  # sanitizers make enough work
LENGTHS = [3, 7, 0, 1, 7, 2, 5, 4, 4]
NEAR = {False: 1e-4, True: 2e-2}


def main() -> int:
    """Judges by the reference, in bfloat16 by kernels for CPUs, so that a run that computes nothing is seen."""
    warnings.simplefilter("error", ReferencePathWarning)
    cpu, machine = BACKENDS["cpu"], Emulation(4)
    for name, H, narrow in RUNS:
        case = Case(tuple(cells.get(name)(3, H) for _ in range(2)), 7, len(LENGTHS), LENGTHS)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
            BACKENDS["cpu"] = cpu
            wanted = case.run("native" if narrow else "reference")
            BACKENDS["cpu"] = CUDA(lambda device: machine, lambda: None, lambda index: "NVIDIA H200")
            for machine.seed in range(4):
                assert_same(case.run("native"), wanted, NEAR[narrow], f"{case} rounded={narrow} seed={machine.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

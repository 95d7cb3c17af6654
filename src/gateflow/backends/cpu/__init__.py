"""The CPU: C++ for one processor, built by the system's compiler, run by a team of threads.

emit         the text of a kernel
toolchain    which compiler there is      build          a library of a text, once per machine
kernel       its loops as functions       arguments      what such a function is called with
repeated     a call that comes again
launch       a run's tensors and threads  partition      how threads divide the work      allocator   its memory
forward · backward, with gemm (large products) and multiplier (whose, in bfloat16)
streaming    single steps
native/      C++ headers: the frame of every kernel
"""

from gateflow.backends.cpu.backend import CPU
from gateflow.backends.cpu.kernel import COSTS

__all__ = ["COSTS", "CPU"]

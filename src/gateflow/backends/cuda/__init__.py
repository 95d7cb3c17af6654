"""GPUs by CUDA: C++ text compiled by NVRTC, one launch for all steps of a run.

emit         the text of a loop          exchange   which of its rows cross blocks
grid         how a run is cut            arguments  what a launch is called with      weights   as blocks read them
kernel       loops as functions          runs       forward and backward              products  large ones, by torch
machine      what a run needs of a card  card       one, by its driver                nvrtc     its compiler
measured     where torch's own kernels are faster
native/      CUDA headers: the frame of every kernel
"""

from gateflow.backends.cuda.backend import CUDA

__all__ = ["CUDA"]

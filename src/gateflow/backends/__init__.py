"""Back ends: kernels for one kind of device each, built from the plans of `compiler/`.

`base.py` is what a back end is. A new one is a folder here and an entry of `BACKENDS`.
"""

from __future__ import annotations

import torch

from gateflow.backends.base import Backend, Forward, Gradients, Sequences, SingleStep
from gateflow.backends.cpu import CPU
from gateflow.backends.cuda import CUDA

__all__ = ["BACKENDS", "Backend", "Forward", "Gradients", "Sequences", "SingleStep", "backend_of"]

# Importing them costs nothing: compilers and drivers are looked for at first use.
BACKENDS: dict[str, Backend] = {"cpu": CPU(), "cuda": CUDA()}


def backend_of(device: torch.device) -> Backend | None:
    """The back end that builds kernels for tensors of a device; none where no back end does.

    Example:
        >>> import torch
        >>> backend_of(torch.device("cpu")).name
        'cpu'
    """
    return BACKENDS.get(device.type)

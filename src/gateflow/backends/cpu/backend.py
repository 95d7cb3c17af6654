"""The CPU as a back end: the rooms of this package put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gateflow.backends.base import Backend, Forward, Gradients, Sequences
from gateflow.backends.cpu.backward import backward
from gateflow.backends.cpu.build import toolchain
from gateflow.backends.cpu.emit import emit
from gateflow.backends.cpu.forward import forward
from gateflow.backends.cpu.kernel import COSTS, REALS, kernel_of
from gateflow.backends.cpu.multiplier import go_on_with, in_use
from gateflow.backends.cpu.streaming import PackedStep
from gateflow.compiler import Step, constant_result
from gateflow.errors import BuildError

__all__ = ["CPU"]

# A call is refused before it runs, so the loops of its backward pass are asked for as well.
_LOOPS = {"nothing": ("infer",), "fast": ("train",), "lean": ("infer", "recompute", "backward"), "stream": ("stream",)}
"""The loops that a call and its backward pass need, by what is kept; `train` is built together with `backward`."""


class CPU(Backend):
    """Kernels for CPUs, in float32 and float64."""

    name = "cpu"
    dtypes = tuple(REALS)
    costs = COSTS

    def obstacle(self) -> str | None:
        """Why this machine builds no kernels."""
        return _no_compiler()

    def obstacle_to(self, step: Step, kept: str, dtype: torch.dtype, products: torch.dtype | None = None) -> str | None:
        """The words of the compiler, of the cache or of the system."""
        kernel = kernel_of(step.cell)
        for loop in _LOOPS[kept]:
            problem = kernel.obstacle(loop, dtype, products)
            if problem is not None:
                return problem
        return None

    def source(self, step: Step) -> str:
        """The C++ of all loops."""
        return emit(step.cell.programs(self.costs))

    def forward(self, run: Sequences, *, keep: bool) -> Forward:
        """One call of a kernel."""
        return forward(run, keep=keep)

    def backward(
        self,
        run: Sequences,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        d_x: bool,
    ) -> Gradients:
        """A kernel's loop and the large products that follow it, chunk by chunk."""
        return backward(run, saved, d_output, d_finals, wanted, d_x)

    def multiplier(self) -> str | None:
        """That of `multiplier.py`."""
        return in_use()

    def go_on_with(self, multiplier: str | None) -> None:
        """Warns where this machine does not have it."""
        go_on_with(multiplier)

    def stream(self, step: Step, weights: Mapping[str, Tensor]) -> PackedStep:
        """A step whose weights are packed as the kernel reads them."""
        return PackedStep(step, weights)


# Dynamo cannot look for a compiler; the answer is a constant of its graph.
@constant_result
def _no_compiler() -> str | None:
    try:
        toolchain()
    except BuildError as problem:
        return str(problem)
    return None

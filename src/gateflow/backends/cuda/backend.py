"""CUDA as a back end: the rooms of this package put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.backends.base import Backend, Forward, Gradients, Sequences, SingleStep
from gateflow.backends.cuda.card import card_of, why_no_card
from gateflow.backends.cuda.kernel import COSTS, loop_of
from gateflow.backends.cuda.machine import Machine
from gateflow.backends.cuda.measured import faster_elsewhere
from gateflow.backends.cuda.runs import backward, forward
from gateflow.compiler import Step, constant_result
from gateflow.errors import BuildError

__all__ = ["CUDA"]

_LOOPS = {"nothing": ("infer",), "fast": ("train", "backward"), "lean": ("infer", "recompute", "backward")}
"""The loops that a call and its backward pass need, by what is kept."""


class CUDA(Backend):
    """Kernels for GPUs, in float32.

    Args:
        machine_of: the card of a device.
        obstacle: why there is none, in words.
        name_of: the name of the card of a device, by its number; none for the current one.
    """

    name = "cuda"
    dtypes = (torch.float32,)
    costs = COSTS
    is_compared = True

    def __init__(
        self,
        machine_of: Callable[[torch.device], Machine] = card_of,
        obstacle: Callable[[], str | None] | None = None,
        name_of: Callable[[int | None], str] = torch.cuda.get_device_name,
    ):
        self.machine_of, self._obstacle, self._name_of = machine_of, obstacle or _no_card, name_of

    def obstacle(self) -> str | None:
        """Why there is no card, driver or compiler here."""
        return self._obstacle()

    def obstacle_to(self, step: Step, kept: str, dtype: torch.dtype, products: torch.dtype | None = None) -> str | None:
        """What its kernels cannot yet, in words."""
        if kept == "stream":
            return "single steps on a GPU run by torch's operations"
        return next((o for name in _LOOPS[kept] if (o := loop_of(step.cell, name).exchange.obstacle)), None)

    def source(self, step: Step) -> str:
        """The CUDA C++ of all loops."""
        return "\n".join(loop_of(step.cell, name).text for name in ("infer", "train", "backward", "recompute"))

    def forward(self, run: Sequences, *, keep: bool) -> Forward:
        """Large products of the input, then one launch for all steps."""
        return forward(run, self.machine_of(run.x.device), keep=keep)

    def backward(
        self,
        run: Sequences,
        saved: Tensor | None,
        d_output: Tensor | None,
        d_finals: Sequence[Tensor | None],
        wanted: frozenset[str],
        d_x: bool,
    ) -> Gradients:
        """One launch for all steps, then the large products that give the gradients of weights."""
        return backward(run, self.machine_of(run.x.device), saved, d_output, d_finals, wanted, d_x)

    def faster_elsewhere(
        self, device: torch.device, cell: str, hidden_size: int, samples: int | None, products: torch.dtype | None
    ) -> str | None:
        """By a table of what was measured."""
        # The switch of cuDNN's recurrent layers alone: asked for all of cuDNN, torch raises where they differ.
        switch: Any = torch.backends.cudnn.rnn
        narrow = switch.fp32_precision == "tf32"
        precision = str(products).removeprefix("torch.") if products else "tf32" if narrow else "float32"
        return faster_elsewhere(self._name_of(device.index), cell, precision, hidden_size, samples)

    def stream(self, step: Step, weights: Mapping[str, Tensor]) -> SingleStep:
        """
        Raises:
            BuildError: always; `obstacle_to` says so beforehand.
        """
        raise BuildError("single steps on a GPU run by torch's operations")


# Dynamo cannot look for a driver; the answer is a constant of its graph.
@constant_result
def _no_card() -> str | None:
    return why_no_card()

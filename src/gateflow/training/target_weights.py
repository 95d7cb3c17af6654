"""An update counts every target once, whichever batch and process it is in."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gateflow.training.distributed import summed

__all__ = ["TargetWeights"]


class TargetWeights:
    """Makes the gradient of one update that of the mean over all its targets.

    Accelerate takes the mean over batches and torch the mean over processes, as if each had as many targets. So each
    loss is weighted by its targets, relative to those of a process's share of the first batch, and the gradient is
    corrected at the end by what these weights are on average. Where all have as many, nothing is touched.

    Args:
        accelerator: the processes.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.reference = 0.0
        self.targets = self.batches = 0

    def weighted(self, loss: Tensor, count: int) -> Tensor:
        """A batch's loss as it is to be followed back; `count` is the number of its targets in this process."""
        if self.batches == 0:
            self.reference = summed(self.accelerator, count)[0] / self.accelerator.num_processes
        self.targets, self.batches = self.targets + count, self.batches + 1
        return loss if count == self.reference else loss * (count / max(1.0, self.reference))

    @torch.no_grad()
    def even_out(self, model: nn.Module) -> None:
        """Correct the gradients of an update, which is the mean of its batches by now."""
        targets = self.targets
        if self.accelerator.num_processes > 1:
            targets = summed(self.accelerator, targets)[0]
        of_equal_batches = self.reference * self.batches * self.accelerator.num_processes
        if targets in (0, of_equal_batches):
            return
        for weight in model.parameters():
            if weight.grad is not None:
                weight.grad.mul_(of_equal_batches / targets)

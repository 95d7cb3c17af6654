"""What several training processes have to agree on; with one process each of these is the identity."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.optim import Optimizer

from gateflow.errors import ConfigError
from gateflow.runs.config import TrainingConfig
from gateflow.training.checkpoint import State


def summed(accelerator: Accelerator, *numbers: float) -> list[float]:
    """Each number, summed over the processes, in one exchange."""
    if accelerator.num_processes == 1:
        return list(numbers)
    totals = torch.tensor(numbers, dtype=torch.float64, device=accelerator.device)
    return accelerator.reduce(totals, "sum").tolist()  # type: ignore[union-attr]


def whole_batch(accelerator: Accelerator, carried: State) -> State:
    """The carried state of all processes, their rows one after the other."""
    if accelerator.num_processes == 1 or carried is None:
        return carried
    return [tuple(accelerator.gather(part.contiguous()) for part in layer) for layer in carried]  # type: ignore[misc]


def own_rows(accelerator: Accelerator, carried: State) -> State:
    """The rows of this process out of the carried state of the whole batch."""
    if carried is None:
        return None
    # The rows of a process lie together, as `whole_batch` has put them.
    index, count = accelerator.process_index, accelerator.num_processes
    return [tuple(part.chunk(count)[index].to(accelerator.device) for part in layer) for layer in carried]


def every_process(accelerator: Accelerator, states: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The states of all processes in their order, on the CPU."""
    if accelerator.num_processes == 1:
        return [dict(states)]
    gathered = {name: accelerator.gather(part[None].to(accelerator.device)).cpu() for name, part in states.items()}  # type: ignore[union-attr]
    return [{name: part[i] for name, part in gathered.items()} for i in range(accelerator.num_processes)]


def leave_processes(accelerator: Accelerator, code: int = 0) -> None:
    """Ends the work with the other processes; as one of several this process ends here, with that exit code.

    Gloo's threads live as long as the process, and may still be dropping the tensors of the last exchange. Were Python
    shut down under them as usual, the process would now and then abort after all its work is done.
    """
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if accelerator.num_processes > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: that would shut Python down, which is what aborts.
        os._exit(code)


def prepared(accelerator: Accelerator, model: nn.Module, optimizer: Optimizer) -> tuple[Any, Any]:
    """The model and the optimizer as Accelerate wraps them."""
    with warnings.catch_warnings():
        # Torch has a new word for it, which Accelerate does not hand on; no user can do anything about that.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        return accelerator.prepare(model, optimizer)


def join_processes(settings: TrainingConfig) -> Accelerator:
    """This process as one of those that ``torchrun`` or ``accelerate launch`` started; alone otherwise.

    Raises:
        ConfigError: this device has no bf16.
    """
    no_broadcast = DistributedDataParallelKwargs(broadcast_buffers=False)  # a model's buffers never change in training
    if settings.precision == "bf16" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise ConfigError("--precision bf16: this GPU has no products of that type; take --precision fp32.")
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # otherwise torchrun without a GPU starts strangers, not a group
        # Of its own for the life of the process, and the next training may have another: `in_precision` is ours.
        mixed_precision="no",
        gradient_accumulation_steps=settings.accumulate,
        kwargs_handlers=[no_broadcast],
    )


def in_precision(accelerator: Accelerator, settings: TrainingConfig) -> torch.autocast:
    """A block whose products are in the precision of a training.

    Example:
        >>> from gateflow.runs.config import TrainingConfig
        >>> settings = TrainingConfig(precision="bf16")
        >>> with in_precision(join_processes(settings), settings):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    return torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16")

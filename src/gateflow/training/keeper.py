"""What the training loop puts into its run and takes out of it: checkpoints and the best weights."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from gateflow.errors import RunError
from gateflow.remedies.clip import NormClipper
from gateflow.training.checkpoint import Checkpoint, Progress, State, random_state, set_random_state
from gateflow.training.metrics import MetricsLog, Record
from gateflow.training.processes import every_process, own_rows, whole_batch
from gateflow.training.runs import Run
from gateflow.training.weights import unique_tensors, write_tensors


class Keeper:
    """Restores and saves all that the next update depends on; with several processes only the first one writes."""

    def __init__(
        self, run: Run, accelerator: Accelerator, model: nn.Module, optimizer: Optimizer, clipper: NormClipper
    ) -> None:
        self.run, self.accelerator = run, accelerator
        self.model, self.optimizer, self.clipper = model, optimizer, clipper
        self.metrics = MetricsLog(run.metrics_file)

    def restore(self, seed: int) -> tuple[Progress, State]:
        """Continue from the checkpoint; a new run begins with random numbers from `seed`.

        Raises:
            RunError: the checkpoint is missing, damaged, or was written by another number of processes.
            NonFiniteError: a weight is NaN or infinite.
        """
        checkpoint = Checkpoint.read(self.run.checkpoint_file)
        progress = checkpoint.restore(self.model, self.optimizer)
        if progress.step == 0:
            torch.manual_seed(seed + self.accelerator.process_index)
        else:
            self._refuse_other_processes(checkpoint.processes)
            set_random_state(checkpoint.random(self.accelerator.process_index))
            self.clipper.load_state_dict(progress.clipper)
        if self.accelerator.is_main_process:
            self.metrics.cut_back(progress.step)
        return progress, own_rows(self.accelerator, checkpoint.carried())

    def save(self, progress: Progress, carried: State) -> None:
        """Write the checkpoint; all processes contribute."""
        progress.clipper = self.clipper.state_dict()
        carried = whole_batch(self.accelerator, carried)
        random = every_process(self.accelerator, random_state())
        checkpoint = Checkpoint.of(self.model, self.optimizer, progress, carried=carried, random=random)
        if self.accelerator.is_main_process:
            self.metrics.flush()
            checkpoint.write(self.run.checkpoint_file)

    def keep_weights(self) -> None:
        """Make these weights the run's model."""
        if self.accelerator.is_main_process:
            write_tensors(self.run.model_file, unique_tensors(self.model))

    def keep_record(self, record: Record) -> None:
        """Add a line to metrics.jsonl."""
        if self.accelerator.is_main_process:
            self.metrics.append(record)

    def _refuse_other_processes(self, count: int) -> None:
        if count != self.accelerator.num_processes:
            go_on = f"torchrun --nproc-per-node {count} -m gateflow resume {self.run.path}"
            raise RunError(f"{self.run.path} was trained by {count} processes; go on with as many: {go_on}")

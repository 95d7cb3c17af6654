"""What the training loop puts into its run and takes out of it: checkpoints and the best weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from gateflow.backends import backend_of
from gateflow.errors import GateflowError, RunError
from gateflow.remedies.clip import NormClipper
from gateflow.runs.fit import (
    refuse_other_carried,
    refuse_other_optimizer,
    refuse_other_random,
    refuse_other_specs,
    specs_of,
)
from gateflow.runs.lasting import UNTOLD, MadeBy
from gateflow.runs.run import Run, resuming
from gateflow.runs.weights import Header, read_tensors, refuse_non_finite, unique_tensors, write_tensors
from gateflow.training.average import WeightAverage
from gateflow.training.checkpoint import (
    Checkpoint,
    Progress,
    Start,
    State,
    random_state,
    rows_of,
    set_random_state,
)
from gateflow.training.distributed import every_process, own_rows, whole_batch
from gateflow.training.metrics import MetricsLog, Record


class Checkpointer:
    """Restores and saves all that the next update depends on; with several processes only the first one writes."""

    def __init__(
        self,
        run: Run,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: Optimizer,
        clipper: NormClipper,
        average: WeightAverage | None = None,
    ) -> None:
        self.run, self.accelerator = run, accelerator
        self.model, self.optimizer, self.clipper, self.average = model, optimizer, clipper, average
        self.metrics = MetricsLog(run.metrics_file)
        self.made_by = UNTOLD

    def restore(self, seed: int, start: Start) -> tuple[Progress, State]:
        """Continue from the checkpoint; a new run begins with random numbers from `seed`.

        Args:
            seed: of a new run.
            start: the hidden state that an epoch starts from in this process, which a carried one is like.

        Raises:
            RunError: the checkpoint is missing, damaged, of another configuration, or was written by another number of
                processes.
            NonFiniteError: a weight is NaN or infinite.
        """
        path, config = self.run.checkpoint_file, self.run.config()
        checkpoint = Checkpoint.read(path, lambda header, processes: self._refuse_misfit(header, processes, start))
        # Before the model is touched: what is refused leaves it as it was.
        made_by = checkpoint.made_by
        made_by.refuse_other_options(config, path, self.run.config_file)
        made_by.refuse_other_equations(self.model, path)
        # As it was kept, whatever config.toml becomes while this training runs; older versions kept nothing.
        self.made_by = made_by if made_by.is_whole else made_by.or_else(MadeBy.of(config, self.model))
        carried, average = checkpoint.carried(start), checkpoint.average()
        progress = checkpoint.restore(self.model, self.optimizer)
        if self.average is not None:
            self.average.load(average)
        if (backend := backend_of(self.accelerator.device)) is not None:
            backend.go_on_with(checkpoint.multiplier)
        if progress.step == 0:
            # Each process its own masks of dropout: with one seed for all, each would drop the same units.
            torch.manual_seed(seed + self.accelerator.process_index)
        else:
            self._restore_clipper(progress)
            set_random_state(checkpoint.random(self.accelerator.process_index), path)
        if self.accelerator.is_main_process:
            # Lines after the checkpoint will be written again, to the digit.
            self.metrics.cut_back(progress.step)
        return progress, own_rows(self.accelerator, carried)

    def save(self, progress: Progress, carried: State) -> None:
        """Write the checkpoint; all processes contribute."""
        progress.clipper = self.clipper.state_dict()
        # Gathered by all processes, written by one: no process has the rows of the others.
        carried = whole_batch(self.accelerator, carried)
        random = every_process(self.accelerator, random_state())
        backend = backend_of(self.accelerator.device)
        multiplier = None if backend is None else backend.multiplier()
        checkpoint = Checkpoint.of(
            self.model,
            self.optimizer,
            progress,
            carried=carried,
            random=random,
            average=None if self.average is None else self.average.state(),
            multiplier=multiplier,
            made_by=self.made_by,
        )
        if self.accelerator.is_main_process:
            # In this order: a checkpoint that is on the disk counts on the lines before it.
            self.metrics.flush()
            checkpoint.write(self.run.checkpoint_file)

    def keep_weights(self) -> None:
        """Make these weights, or their average, the run's model."""
        if self.accelerator.is_main_process:
            with self.averaged():
                write_tensors(self.run.model_file, unique_tensors(self.model), self.made_by.metadata())

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the model has averaged weights, if they are averaged at all."""
        return nullcontext() if self.average is None else self.average.in_place()

    def damage_of_weights(self, best: float | None) -> str | None:
        """Why the run's model cannot be read as that of this network, if so; there is one once there was a best."""
        file = self.run.model_file
        if not file.exists():
            return None if best is None else f"{file} is missing"
        wanted = specs_of(unique_tensors(self.model))
        try:
            tensors, _ = read_tensors(file, lambda header: refuse_other_specs(header.tensors, wanted, file))
            refuse_non_finite(tensors, file)
        except GateflowError as error:
            return str(error).removesuffix(".")
        return None

    def keep_record(self, record: Record) -> None:
        """Add a line to metrics.jsonl."""
        if self.accelerator.is_main_process:
            self.metrics.append(record)

    def _refuse_misfit(self, header: Header, processes: int, start: Start) -> None:
        """What cannot be this run's checkpoint is refused by its header, before memory is taken for it."""
        path, random = self.run.checkpoint_file, header.group("random.")
        refuse_other_specs(header.group("model."), specs_of(unique_tensors(self.model)), path)
        if averages := header.group("average."):  # where none are asked for any more, they are left where they are
            refuse_other_specs(averages, specs_of(dict(self.model.named_parameters())), path)
        refuse_other_optimizer(header.group("optimizer."), self.optimizer, path)
        refuse_other_random(random, processes, specs_of(random_state()), path)
        if random:  # a new run has none yet, and may be begun by any number of processes
            self._refuse_other_processes(processes)
        refuse_other_carried(header.group("carried."), rows_of(start, processes), start, path)

    def _restore_clipper(self, progress: Progress) -> None:
        try:
            self.clipper.load_state_dict(progress.clipper)
        except KeyError as error:
            raise RunError(f"{self.run.checkpoint_file} is damaged: of the clipper it lacks {error}.") from None

    def _refuse_other_processes(self, count: int) -> None:
        if count != self.accelerator.num_processes:
            go_on = f"torchrun --nproc-per-node {count} -m {resuming(self.run.path)}"
            raise RunError(f"{self.run.path} was trained by {count} processes; go on with as many: {go_on}")

"""The training loop: updates, records, validations and checkpoints, for any task.

Every start is a resume: a new run has a checkpoint of step 0. What a task must offer is in `task`.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from accelerate import Accelerator

from gateflow.errors import ConfigError, RunError, RunWarning
from gateflow.flow import Monitor
from gateflow.layers.evaluating import evaluating
from gateflow.remedies.clip import NormClipper
from gateflow.runs.config import TrainingConfig
from gateflow.runs.run import Run
from gateflow.training.average import WeightAverage
from gateflow.training.callbacks import Callback
from gateflow.training.checkpoint import Progress, State
from gateflow.training.checkpointer import Checkpointer
from gateflow.training.distributed import in_precision, prepared, summed
from gateflow.training.interrupt import Interrupt
from gateflow.training.optimizers import build_optimizer
from gateflow.training.schedule import rate
from gateflow.training.target_weights import TargetWeights
from gateflow.training.task import Task, TrainingOutcome
from gateflow.training.warm_up import builds_kernels, thrown_away


class TrainingLoop:
    """Train `task` in `run` until its settings say enough, from wherever its checkpoint stands.

    A `monitor` of the task's model changes nothing that is learnt; what it takes down becomes records of kind ``flow``.
    `began` is when the work on this run did, by `time.monotonic()`, if data were read for it before.

    Raises:
        ConfigError: more batches per update than the data have.
        RunError: the checkpoint is damaged, or another process trains this run.
        NonFiniteError: gradients were not finite too many times in a row.
    """

    def __init__(
        self,
        task: Task,
        settings: TrainingConfig,
        run: Run,
        accelerator: Accelerator,
        callbacks: Sequence[Callback] = (),
        monitor: Monitor | None = None,
        began: float | None = None,
    ) -> None:
        self.task, self.settings, self.run, self.accelerator = task, settings, run, accelerator
        # Bars and curves of several processes would overwrite each other.
        self.callbacks = callbacks if accelerator.is_main_process else ()
        self.monitor = monitor if accelerator.is_main_process else None
        self.updates_per_epoch = _updates_per_epoch(task, settings)
        # No limit is a number too, so that the smaller one is simply taken; 2**63 updates take for ever.
        self.total = min(settings.max_updates or 2**63, settings.epochs * self.updates_per_epoch)
        self.model, self.optimizer = prepared(accelerator, task.model, build_optimizer(task.model, settings))
        # Of the model itself, not of the wrapped one: names in its message are then those that the user
        # knows.
        self.clipper = NormClipper(task.model, settings.clip, non_finite="skip", patience=settings.non_finite_limit)
        self.average = None if settings.average is None else WeightAverage(task.model, settings.average)
        self.checkpointer = Checkpointer(
            run, accelerator, task.model, self.optimizer.optimizer, self.clipper, self.average
        )
        self.progress = Progress()
        self.begun, self.clock = 0, began
        self.carried: State = None

    def train(self) -> TrainingOutcome:
        """Go on to the end, early or not, or to the first Ctrl-C; all leave a checkpoint of the last update."""
        # One lock for all processes: torchrun starts them together, and the first one stands for them.
        self.clock = self.clock or time.monotonic()
        with self.run.lock() if self.accelerator.is_main_process else nullcontext(), Interrupt() as interrupt:
            self.progress, self.carried = self.checkpointer.restore(self.settings.seed, self.task.start())
            self.begun = self.progress.step
            self._refuse_other_position()
            self.progress.cut = self.cut()
            self.mend_weights()
            # A checkpoint says nothing of modes, and a model that was read for its figures is in eval
            # mode.
            self.task.model.train()
            self.warm_up()
            # Recorded before it is validated, so that metrics.jsonl reads in the order of what happened;
            # saved last, for a checkpoint has all of it.
            for batches in self.remaining_updates():
                interrupted = self.update(batches, interrupt)
                self.record_flow()
                self.record_when_due()
                self.validate_when_due()
                self.save_when_due(interrupted)
                if interrupted:
                    return self.outcome(interrupted=True)
        return self.outcome(interrupted=False)

    def count_time(self) -> None:
        """Add what has passed since it was last added, whatever it was spent on."""
        now = time.monotonic()
        self.progress.elapsed += now - (now if self.clock is None else self.clock)
        self.clock = now

    def mend_weights(self) -> None:
        """A model that nobody can read gives way to the checkpoint's weights, and these to the next validation's."""
        main = self.accelerator.is_main_process
        damage = self.checkpointer.damage_of_weights(self.progress.best) if main else None
        if not summed(self.accelerator, damage is not None)[0]:
            return
        if main:
            warnings.warn(
                f"{damage}. The weights of the checkpoint take its place, until those of the next validation do.",
                RunWarning,
                stacklevel=2,
            )
        # The best that there was is lost, so that whatever comes next is the best there is.
        self.progress.best = self.progress.best_loss = None
        self.checkpointer.keep_weights()
        # Else a kill before the next checkpoint would bring the lost best back. At step 0 there was none yet.
        if self.progress.step > 0:
            self.checkpointer.save(self.progress, self.carried)

    def warm_up(self) -> None:
        """Two batches forward and backward that leave kernels and nothing else; their build is no update's time."""
        # A finished run builds nothing, and torch.nn has its kernels already.
        if self.finished() or not builds_kernels(self.task.model):
            return
        batches, carried = self.task.batches(self.progress.epoch, self.progress.batch), self.carried
        with thrown_away(self.task.model):
            for batch in islice(batches, 2):  # the second has a state to begin with
                with in_precision(self.accelerator, self.settings):
                    loss, _, carried = self.task.loss(self.task.model, batch, carried)
                loss.backward()
            if self.monitor is not None:
                self.monitor.warm_up()

    def remaining_updates(self) -> Iterator[list[Any]]:
        """The batches of each update still to come; `update` moves the progress in between."""
        while not self.finished():
            batches = self.task.batches(self.progress.epoch, self.progress.batch)
            yield self._next_of(batches)
            # One iterator serves the whole epoch: a task may read its data from a file in one go.
            while self.progress.batch > 0 and not self.finished():
                yield self._next_of(batches)

    def finished(self) -> bool:
        """Whether all updates are done, or validations have brought nothing for too long."""
        return self.progress.step >= self.total or self.stopped_early()

    def stopped_early(self) -> bool:
        """Whether `patience` validations in a row were no better than the best before them."""
        patience = self.settings.patience
        return patience is not None and self.progress.stale >= patience

    def _next_of(self, batches: Iterator[Any]) -> list[Any]:
        """The batches of one update; none at all would be an update that learns from nothing."""
        if len(update := list(islice(batches, self.settings.accumulate))) < self.settings.accumulate:
            raise RunError(f"{self.run.path}: its data ended before the epoch did; set the run up again with --force.")
        return update

    def _refuse_other_position(self) -> None:
        """A position within an epoch means nothing in an epoch of other batches."""
        batch, accumulate, now = self.progress.batch, self.settings.accumulate, self.cut()
        # The same number of batches is not enough: a window one step longer may leave it as it was.
        others = {name: was for name, was in self.progress.cut.items() if now.get(name, was) != was}
        # The number of batches follows from the options, and is told where it is the data that have changed.
        told = [f"{name} {was}" for name, was in others.items() if name != "batches" or len(others) == 1]
        if batch % accumulate or batch >= self.updates_per_epoch * accumulate or (batch and others):
            written = f" that was cut with {' and '.join(told)}" if told else ""
            raise RunError(
                f"{self.run.checkpoint_file} stands at batch {batch} of an epoch{written}, and with these data and "
                f"config.toml an epoch has {self.updates_per_epoch} updates of {accumulate}. Give config.toml the "
                "batch_size, window and accumulate back that it had, and the run its data."
            )

    def cut(self) -> dict[str, int]:
        """How the data are cut into batches, by the options of the task that say so."""
        options = sorted({"batch_size", "window"} - self.run.kind.unused)
        return {"batches": self.task.batches_per_epoch(), **{name: getattr(self.settings, name) for name in options}}

    def update(self, batches: list[Any], interrupt: Interrupt) -> bool:
        """One step of the optimizer; says whether any process was asked to stop."""
        # Data are read and records written outside of it: the time of an update is that of learning.
        started = time.perf_counter()
        for group in self.optimizer.param_groups:
            # Out of the number of the update, so that the rate needs no state in the checkpoint.
            group["lr"] = self.rate()
        loss_sum, loss_count, broken = self.backward(batches)
        # A gradient that is not finite is left out; with the next batch it may be finite again.
        if self.clipper.step():
            self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.progress.step + 1)
        totals = summed(self.accelerator, loss_sum, loss_count, broken, interrupt.asked)
        loss_sum, loss_count, broken, asked = totals
        # A state that led to NaN would lead to NaN in every batch that follows.
        if broken:
            self.carried = None
        self.advance(loss_sum, int(loss_count), time.perf_counter() - started)
        return asked > 0

    def backward(self, batches: list[Any]) -> tuple[float, int, int]:
        """Gradients of the mean over `batches`; returns the summed loss, its targets, and how many were not finite."""
        loss_sum, loss_count, broken = 0.0, 0, 0
        weights = TargetWeights(self.accelerator)
        for batch in batches:
            with self.accelerator.accumulate(self.model):
                with in_precision(self.accelerator, self.settings):
                    loss, count, self.carried = self.task.loss(self.model, batch, self.carried)
                self.accelerator.backward(weights.weighted(loss, count))
            # The one place of an update where the host waits for the device; the monitor and the sums
            # need the number.
            mean = loss.item()
            if self.monitor is not None:
                self.monitor.steps = self.progress.step
                self.monitor.step(mean)
            if math.isfinite(mean):
                loss_sum, loss_count = loss_sum + mean * count, loss_count + count
            else:
                broken += 1
        weights.even_out(self.task.model)
        return loss_sum, loss_count, broken

    def advance(self, loss_sum: float, loss_count: int, seconds: float) -> None:
        """Count one update; a new epoch begins with an empty state."""
        progress = self.progress
        progress.step += 1
        progress.batch += self.settings.accumulate
        progress.loss_sum += loss_sum
        progress.loss_count += loss_count
        progress.targets += loss_count
        progress.seconds += seconds
        progress.interval_seconds += seconds
        # What is left of the data after the last whole update of an epoch is left out: an update of fewer
        # batches would have another scale.
        if progress.batch == self.updates_per_epoch * self.settings.accumulate:
            progress.epoch, progress.batch, self.carried = progress.epoch + 1, 0, None
        self.count_time()
        for callback in self.callbacks:
            callback.step(progress, self.total)

    def record_flow(self) -> None:
        """A line of metrics.jsonl if the monitor has measured, or warned of, the update just made."""
        if self.monitor is not None and self.monitor.history and self.monitor.history[-1]["step"] == self.progress.step:
            found = dict(self.monitor.history[-1])
            self.record("flow", {"loss": found.pop("loss")}, **{name: found[name] for name in found if name != "step"})

    def record_when_due(self) -> None:
        """A line of metrics.jsonl every `log_every` updates and at the end: means since the last one."""
        progress = self.progress
        if progress.step % self.settings.log_every and progress.step < self.total:
            return
        loss = progress.loss_sum / progress.loss_count if progress.loss_count else math.nan
        # Never a division by zero: a clock of low resolution can say that no time has passed.
        speed = round(progress.loss_count / max(1e-9, progress.interval_seconds))
        norms = self.clipper.statistics()
        self.record(
            "train",
            {"loss": loss},
            lr=self.optimizer.param_groups[0]["lr"],
            gradient_norm=norms["norm_p50"],
            clipped=norms["clipped_share"],
            skipped=norms["skipped"],
            **{f"{self.task.unit}_per_second": speed},
        )
        progress.loss_sum, progress.loss_count, progress.interval_seconds = 0.0, 0, 0.0

    def validate_when_due(self) -> None:
        """The figures of the validation data after each epoch, at the end, and every `validate_every` updates."""
        progress, every = self.progress, self.settings.validate_every
        # An epoch that has just ended stands at batch 0 of the next one.
        if not (progress.batch == 0 or progress.step == self.total or (every and progress.step % every == 0)):
            return
        with self.checkpointer.averaged(), evaluating(self.task.model), torch.inference_mode():
            sums, count = self.task.validate(self.task.model)
            # Sums, not means: processes may hold different numbers of targets.
            *sums_of_all, count = summed(self.accelerator, *sums.values(), count)
        means = {name: value / count for name, value in zip(sums, sums_of_all, strict=True)}
        figures = self.record("valid", means)
        if self.is_best(found := figures[self.task.metric[0]], loss := figures["loss"]):
            progress.best, progress.best_loss, progress.stale = found, loss if math.isfinite(loss) else None, 0
            self.checkpointer.keep_weights()
        else:
            progress.stale += 1

    def is_best(self, found: float, loss: float) -> bool:
        """Whether the metric was never as good, or as good but with a larger loss; what is not finite is no good.

        The share of right ones among few examples soon is all that it can be, while the loss still falls.
        """
        best, before, smaller = self.progress.best, self.progress.best_loss, self.task.metric[1] == "min"
        if best is None or found == best:
            return math.isfinite(found) and (best is None or (before is not None and loss < before))
        return math.isfinite(found) and (found < best if smaller else found > best)

    def record(self, kind: str, means: Mapping[str, float], **more: Any) -> dict[str, Any]:
        """Write one line of metrics.jsonl, tell the callbacks, and return the figures."""
        shown = {name: mean for name, mean in means.items() if not name.startswith("_")}
        figures = {**shown, **self.task.figures(means), **more}
        # JSON knows no NaN; what is not finite is null there, and a reader need not guess.
        finite = {name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in figures.items()}
        # As a part of the whole, so that curves of runs with other batch sizes can be laid over each other.
        epoch = round(self.progress.step / self.updates_per_epoch, 4)
        seconds = round(self.progress.seconds, 3)
        record = {"kind": kind, "step": self.progress.step, "epoch": epoch, **finite, "seconds": seconds}
        self.checkpointer.keep_record(record)
        for callback in self.callbacks:
            callback.record(record)
        return figures

    def save_when_due(self, interrupted: bool) -> None:
        """A checkpoint every `checkpoint_every` updates, at the end, and on Ctrl-C."""
        # Stopped before the first validation it still has a model: every other verb needs one.
        if interrupted and not self.run.model_file.exists():
            self.checkpointer.keep_weights()
        if interrupted or self.finished() or self.progress.step % self.settings.checkpoint_every == 0:
            self.count_time()
            self.checkpointer.save(self.progress, self.carried)

    def rate(self) -> float:
        """The learning rate of the update at hand."""
        s = self.settings
        return rate(
            self.progress.step, self.total, peak=s.lr, warmup=min(s.warmup, self.total // 10), schedule=s.schedule
        )

    def outcome(self, interrupted: bool) -> TrainingOutcome:
        """What there is to say at the end."""
        p = self.progress
        early = p.stale if self.stopped_early() and p.step < self.total else None
        return TrainingOutcome(p.step, p.epoch, p.best, p.seconds, p.targets, interrupted, early, self.begun, p.elapsed)


def _updates_per_epoch(task: Task, settings: TrainingConfig) -> int:
    batches = task.batches_per_epoch()
    if batches < settings.accumulate:
        raise ConfigError(f"--accumulate {settings.accumulate}: the training data have only {batches} batches.")
    return batches // settings.accumulate

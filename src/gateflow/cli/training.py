"""What ``train`` and ``resume`` share: the loop with a display, and what is said at the end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer
from accelerate import Accelerator

from gateflow.backends.cpu.process import prepare_process
from gateflow.cli.failures import INTERRUPTED
from gateflow.cli.output import print_json, say
from gateflow.cli.progress import TrainingDisplay, figure, minutes
from gateflow.cli.verbs import show
from gateflow.cli.visible import VisibleConsole
from gateflow.flow import Monitor
from gateflow.layers import has_cells
from gateflow.runs.config import RunConfig
from gateflow.runs.run import Run, resuming
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks.description import TaskDescription
from gateflow.training.callbacks import Callback
from gateflow.training.distributed import join_processes, leave_processes
from gateflow.training.loop import TrainingLoop
from gateflow.training.task import Task, TrainingOutcome, known_figure
from gateflow.training.trackers import require_tracker, tracked


def set_up_and_train(
    task: TaskDescription, out: Path, config: RunConfig, trust: Trust = NOBODY, *, force: bool, json: bool
) -> None:
    """Make the run, in the first process if there are several, and train it."""
    began = time.monotonic()
    if config.training.tracker:
        # Before a text of gigabytes has been read.
        require_tracker(config.training.tracker)
    prepare_process()
    accelerator = join_processes(config.training)
    if task.series and (places := task.part("series")(out, config)):
        _train_series(task, places, accelerator, trust, force=force, json=json)
        return
    if accelerator.is_main_process:
        _set_up(task, out, config, force=force)
    # The others open what the first one has made.
    accelerator.wait_for_everyone()
    train_run(task, task.part("run").open(out, trust), accelerator, json=json, began=began)


def _set_up(task: TaskDescription, out: Path, config: RunConfig, *, force: bool) -> None:
    """Make a run; in a terminal it is seen that something is being done."""
    with VisibleConsole(stderr=True).status("reading the data"):
        task.part("set_up")(out, config, force=force)


def _train_series(
    task: TaskDescription,
    places: Sequence[tuple[Path, RunConfig]],
    accelerator: Accelerator,
    trust: Trust,
    *,
    force: bool,
    json: bool,
) -> None:
    """Train the runs of one training one after the other, and sum them up; typed again, the command goes on."""
    runs: list[Run[Any]] = []
    for place, config in places:
        began = time.monotonic()
        if accelerator.is_main_process and (force or not _is_there(task, place, config, trust)):
            _set_up(task, place, config, force=force)
        accelerator.wait_for_everyone()
        runs.append(run := task.part("run").open(place, trust))
        trained, outcome = _trained(task, run, accelerator, began)
        if accelerator.is_main_process and not json:
            say(f"{place} ({len(runs)} of {len(places)})", style="bold")
            report(task, run, trained, outcome, json=False)
        if outcome.interrupted:
            if accelerator.is_main_process and len(runs) < len(places):
                left = len(places) - len(runs)
                say(f"{left} more are to be trained: the same command, typed again, goes on with all.")
            leave_processes(accelerator, INTERRUPTED)
            raise typer.Exit(INTERRUPTED)
        # Of the model that is done with.
        accelerator.free_memory()
    if accelerator.is_main_process:
        show(task.part("summary")(runs), json=json)
    leave_processes(accelerator, 0)


def _is_there(task: TaskDescription, place: Path, config: RunConfig, trust: Trust) -> bool:
    """Whether a run with just these options is at this place; it may have gone beyond its end since."""
    if not (place / "config.toml").is_file():
        return False
    found = task.part("run").open(place, trust).config()
    beyond = {
        name: there
        for name in ("epochs", "max_updates")
        if (there := getattr(found.training, name)) is not None and there > (getattr(config.training, name) or there)
    }
    return found == config.model_copy(update={"training": config.training.model_copy(update=beyond)})


def train_run(
    described: TaskDescription,
    run: Run[Any],
    accelerator: Accelerator | None = None,
    *,
    json: bool,
    began: float | None = None,
) -> None:
    """Train a run to its end, or to Ctrl-C, and say where it stands; Ctrl-C leaves with code 130."""
    prepare_process()
    accelerator = accelerator or join_processes(run.config().training)
    task, outcome = _trained(described, run, accelerator, began)
    if accelerator.is_main_process:
        report(described, run, task, outcome, json=json)
    # After the report: as one of several, this process ends in there.
    leave_processes(accelerator, INTERRUPTED if outcome.interrupted else 0)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def _trained(
    described: TaskDescription, run: Run[Any], accelerator: Accelerator, began: float | None
) -> tuple[Task, TrainingOutcome]:
    """A run trained to its end, or to Ctrl-C, with a display."""
    config = run.config()
    task: Task = described.part("build")(run, config, accelerator.process_index, accelerator.num_processes)
    main = accelerator.is_main_process
    tracking = tracked(run, config) if main else nullcontext()
    with TrainingDisplay(enabled=main) as display, tracking as tracker:
        callbacks: list[Callback] = [display, *([tracker] if tracker else [])]
        monitor, writer = None, tracker.writer if tracker else None
        # It follows gradients through recurrent layers, which a Transformer has none of.
        if config.training.monitor and has_cells(task.model):
            # It warns of a step that is not finite, and the clipper decides whether that one is skipped.
            folder = run.path / "non_finite_step"
            monitor = Monitor(task.model, folder=folder, non_finite="warn", writer=writer)
        return task, TrainingLoop(task, config.training, run, accelerator, callbacks, monitor, began).train()


def _farther(run: Run[Any], outcome: TrainingOutcome) -> str:
    """The option that lets a finished run go on, with twice of what ended it."""
    training = run.config().training
    if training.max_updates is not None and outcome.step >= training.max_updates:
        return f"--max-updates {2 * training.max_updates}"
    return f"--epochs {2 * training.epochs}"


def report(described: TaskDescription, run: Run[Any], task: Task, outcome: TrainingOutcome, *, json: bool) -> None:
    """The end of a training, in words on stderr or as JSON on stdout."""
    name, best = known_figure(task, outcome.best)
    # As a shell takes it: a folder may have blanks in its name.
    path = shlex.quote(str(run.path))
    # What was typed is not remembered: the next command has to say it again.
    trusting = " --trust-code" if any(":" in code for code in run.config().named_code()) else ""
    if json:
        place = {"run": str(run.path), "updates": outcome.step, "epochs": outcome.epoch, "seconds": outcome.seconds}
        place["elapsed"] = outcome.elapsed
        ended = {"interrupted": outcome.interrupted, "stopped_early": outcome.stale is not None}
        print_json({**place, f"validation_{name}": best, **ended})
    elif outcome.interrupted:
        say(f"Stopped after update {outcome.step:,} and saved. Go on with: {resuming(run.path)}{trusting}")
    else:
        spoken = described.figure_names.get(name, name)
        quality = "" if best is None else f", best validation {spoken} {figure(best)}"
        early = "" if outcome.stale is None else f"; stopped early, {outcome.stale} validations after it"
        trained = "Trained" if outcome.step > outcome.begun else f"{run.path} had reached its end before:"
        say(f"{trained} {outcome.step:,} updates in {minutes(outcome.elapsed)}{quality}{early}.")
        if outcome.step == outcome.begun and not early:
            say(f"To go beyond it: {resuming(run.path)} {_farther(run, outcome)}")
        steps = [f"gateflow {step.format(run=path)}{trusting}" for step in described.next_steps]
        if steps:
            say(f"Next: {'    '.join(steps)}")

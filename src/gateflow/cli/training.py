"""What ``train`` and ``resume`` share: the loop with a display, and what is said at the end."""

from __future__ import annotations

from pathlib import Path

import typer
from accelerate import Accelerator

from gateflow.backends.cpu.process import prepare_process
from gateflow.cli.failures import INTERRUPTED
from gateflow.cli.output import print_json, say
from gateflow.cli.progress import TrainingDisplay, minutes
from gateflow.flow import Monitor
from gateflow.tasks.language_model import perplexity
from gateflow.training.config import RunConfig
from gateflow.training.language_model import LanguageModelTask
from gateflow.training.loop import Loop
from gateflow.training.processes import join_processes, leave_processes
from gateflow.training.runs import Run
from gateflow.training.set_up import set_up
from gateflow.training.task import Listener, Outcome
from gateflow.training.tensorboard import TensorBoardCurves, require_tensorboard
from gateflow.training.trust import NOBODY, Trust


def set_up_and_train(out: Path, config: RunConfig, trust: Trust = NOBODY, *, force: bool, json: bool) -> None:
    """Make the run, in the first process if there are several, and train it."""
    if config.training.tensorboard:
        require_tensorboard()
    prepare_process()
    accelerator = join_processes(config.training)
    if accelerator.is_main_process:
        set_up(out, config, force=force)
    accelerator.wait_for_everyone()
    train_run(Run.open(out, trust), accelerator, json=json)


def train_run(run: Run, accelerator: Accelerator | None = None, *, json: bool) -> None:
    """Train a run to its end, or to Ctrl-C, and say where it stands; Ctrl-C leaves with code 130."""
    prepare_process()
    config = run.config()
    accelerator = accelerator or join_processes(config.training)
    task = LanguageModelTask(run, config, accelerator.process_index, accelerator.num_processes)
    with TrainingDisplay(enabled=accelerator.is_main_process) as display:
        listeners: list[Listener] = [display]
        monitor, writer = None, None
        if config.training.tensorboard and accelerator.is_main_process:
            listeners.append(curves := TensorBoardCurves(run.path / "tensorboard"))
            writer = curves.writer
        if config.training.monitor:
            folder = run.path / "non_finite_step"
            monitor = Monitor(task.model, folder=folder, non_finite="warn", writer=writer)
        outcome = Loop(task, config.training, run, accelerator, listeners, monitor).train()
    if accelerator.is_main_process:
        report(run, outcome, json=json)
    leave_processes(accelerator, INTERRUPTED if outcome.interrupted else 0)
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)


def report(run: Run, outcome: Outcome, *, json: bool) -> None:
    """The end of a training, in words on stderr or as JSON on stdout."""
    best = None if outcome.best is None else perplexity(outcome.best, 1)
    trusting = " --trust-code" if ":" in run.config().model.cell else ""
    if json:
        place = {"run": str(run.path), "updates": outcome.step, "epochs": outcome.epoch, "seconds": outcome.seconds}
        print_json({**place, "validation_perplexity": best, "interrupted": outcome.interrupted})
    elif outcome.interrupted:
        say(f"Stopped after update {outcome.step:,} and saved. Go on with: gateflow resume {run.path}{trusting}")
    else:
        quality = "" if best is None else f", best validation perplexity {best:,.1f}"
        say(f"Trained {outcome.step:,} updates in {minutes(outcome.seconds)}{quality}.")
        generate, evaluate = f"generate {run.path} --prompt '...'", f"evaluate {run.path} --data FILE"
        say(f"Next: gateflow {generate}{trusting}    gateflow {evaluate}{trusting}")

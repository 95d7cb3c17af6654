"""What recurrent networks are trained for here, one folder a task. This is the list: a new task is a folder and a line.

Nothing of a task is imported here but its description, and a description is free of torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateflow.errors import RunError
from gateflow.runs.run import Run
from gateflow.runs.trust import NOBODY, Trust
from gateflow.tasks.description import TaskDescription
from gateflow.tasks.verify import verified

__all__ = ["TASKS", "description", "open_run"]

# Each task's name and the place of its description; a program may add its own.
TASKS: dict[str, str] = {
    "lm": "gateflow.tasks.language_model:LANGUAGE_MODEL",
    "tagger": "gateflow.tasks.tagger:TAGGER",
    "classifier": "gateflow.tasks.classifier:CLASSIFIER",
    "forecaster": "gateflow.tasks.forecaster:FORECASTER",
    "transcriber": "gateflow.tasks.transcriber:TRANSCRIBER",
    "translator": "gateflow.tasks.translator:TRANSLATOR",
    "agreement": "gateflow.tasks.agreement:AGREEMENT",
}


def description(name: str) -> TaskDescription:
    """The description of a task.

    Raises:
        TaskError: its entry names no description, or one that does not hold together.

    Example:
        >>> description("lm").name
        'lm'
    """
    return verified(name, TASKS[name])


def open_run(path: Path, trust: Trust = NOBODY) -> tuple[Run[Any], TaskDescription]:
    """An existing run of whatever task, and that task, which its config.toml names.

    Raises:
        RunError: there is no such folder, it is no run, or one of a task that this gateflow does not have.
        TaskError: the task's description does not hold together.
    """
    # Opened twice: as a run of whatever task to read its name, then as one of that task.
    name = Run.open(path, trust).task()
    # The name comes out of a file: it is looked up, and never imported.
    if name not in TASKS:
        raise RunError(
            f"{path} is a run of the task {name!r:.80}, and there are {', '.join(TASKS)}; it needs the program, or the "
            "version of gateflow, that has it."
        )
    task = description(name)
    return task.part("run").open(path, trust), task

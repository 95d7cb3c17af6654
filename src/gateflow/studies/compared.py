"""What ``gateflow compare`` offers to compare cells on, and which settings that takes. It is free of torch."""

from __future__ import annotations

from collections.abc import Iterator

from gateflow.errors import TaskError
from gateflow.runs.config import ConfigSection, RunConfig
from gateflow.runs.config_errors import flag
from gateflow.tasks import TASKS, description
from gateflow.tasks.description import TaskDescription

# The task of a comparison that names none: cells are compared on a text of the user's.
TEXT = "lm"
# Tasks of long memory, in `gateflow.studies.memory`.
MEMORY = ("adding", "copy", "order")
# Time steps of a task of memory: over 100, temporal order tells default from chrono initial weights.
LENGTH = 100
# Settings of a run that a comparison has in another form (--cells, --updates) or not at all.
NOT_HERE = frozenset({"cell", "model", "max_updates", "patience", "checkpoint_every", "monitor", "tracker"})
# What some settings mean to a comparison.
WORDS = {
    "epochs": "Most passes over the data; without end if left out.",
    "seed": "The first seed. Default: 0.",
}
# Settings that a task of long memory has, out of those of a language model.
FOR_MEMORY = ("hidden_size", "batch_size", "lr", "clip", "seed")


def comparable() -> Iterator[TaskDescription]:
    """The tasks whose descriptions say how cells are compared on them."""
    for name in TASKS:
        try:
            found = description(name)
        except TaskError:  # told where commands are made
            continue
        if found.compared:
            yield found


def not_here(kind: type[RunConfig]) -> frozenset[str]:
    """The settings of a task that a comparison does not offer."""
    return NOT_HERE | kind.unused


def belonging_to(option: str) -> list[str]:
    """The tasks to whose comparison an option belongs, as it is typed.

    Example:
        >>> belonging_to("--tied"), belonging_to("--length")
        (['lm', 'translator'], ['adding', 'copy', 'order'])
    """
    tasks = [task.name for task in comparable() if option in _flags(task.part("config"))]
    of_memory = {"--length", *map(flag, FOR_MEMORY)}
    return [*tasks, *(MEMORY if option in of_memory else ())]


def _flags(kind: type[RunConfig]) -> Iterator[str]:
    sections: list[type[ConfigSection]] = list(kind.sections().values())
    for name in (name for section in sections for name in section.model_fields if name not in not_here(kind)):
        yield flag(name)
        # The word for a truth that is not wanted.
        yield f"--no-{flag(name)[2:]}"

"""What ``gateflow compare`` offers to compare cells on, and which settings that takes. It is free of torch."""

from __future__ import annotations

from gateflow.errors import ConfigError
from gateflow.runs.config_errors import Options, flag

# The task whose settings a comparison has; cells are compared on a text of the user's.
TEXT = "lm"
# Tasks of long memory, in `gateflow.studies.memory`.
MEMORY = ("adding", "copy", "order")
# Time steps of a task of memory: over 100, temporal order tells default from chrono initial weights.
LENGTH = 100
# Settings of a run that a comparison has in another form (--cells, --updates) or not at all.
NOT_HERE = frozenset({"cell", "max_updates", "patience", "bidirectional", "checkpoint_every", "monitor", "tensorboard"})
# What some settings mean to a comparison.
WORDS = {
    "epochs": "Most passes over the text; without end if left out.",
    "seed": "The first seed. Default: 0.",
}
# Settings that a task of long memory has; the others belong to a language model.
FOR_MEMORY = ("hidden_size", "batch_size", "lr", "clip", "seed")


def refuse_others(task: str, length: int | None, typed: Options) -> None:
    """Refuse a task that there is not, and what was typed and belongs to another one.

    Raises:
        ConfigError: it names the option.
    """
    if task not in (TEXT, *MEMORY):
        raise ConfigError(f"--task {task}: there are {', '.join((TEXT, *MEMORY))}.")
    if task == TEXT:
        if length is not None:
            raise ConfigError(f"--length {length} belongs to a task of memory, such as --task adding.")
        return
    # Refused rather than ignored: a user who types --layers for a task of memory means something by it.
    if strangers := [name for values in typed.values() for name in values if name not in FOR_MEMORY]:
        known = ", ".join(map(flag, FOR_MEMORY))
        raise ConfigError(f"{flag(strangers[0])} belongs to --task {TEXT}; --task {task} has {known}.")

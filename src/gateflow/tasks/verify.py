"""Whether the description of a task holds together, told when it is read and not when one of its commands is typed.

What stands in places is imported later, when it is needed, the configuration apart: its fields are options.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from gateflow.errors import TaskError
from gateflow.runs.config import RunConfig
from gateflow.runs.config_errors import flag
from gateflow.tasks.description import Option, TaskDescription, Verb, imported, refuse_no_place

__all__ = ["OWN_COMMANDS", "verified"]

# The commands that are of no task. A verb of one of these names would take its place, for the runs of all tasks.
OWN_COMMANDS = frozenset("quickstart train resume diagnose inspect cells explain compare remedies bench doctor".split())
# Words that every verb has, that every training has, and that every command has.
OF_VERBS, OF_TRAININGS = ("run", "trust_code", "json"), ("out", "config", "force", "trust_code", "json")
OF_COMMANDS = ("debug", "help")
# What the command line can read.
TYPES = (int, float, str, bool, Path)


def verified(key: str, place: object) -> TaskDescription:
    """The description that an entry of the list of tasks names.

    Raises:
        TaskError: it names none, or one that does not hold together; the message says which field, and the remedy.
    """
    what = f"the entry {key!r:.80} of TASKS"
    refuse_no_place(place, what)
    found = imported(str(place), what)
    if not isinstance(found, TaskDescription):
        raise TaskError(f"{what}: {place} is no TaskDescription, but {found!r:.80}; name the description itself.")
    if found.name != key:
        raise TaskError(f"{what} has the description of {found.name!r:.80}; give both the same name.")
    for field in ("config", "run", "set_up", "build", "diagnose", "load"):
        refuse_no_place(getattr(found, field), f"`{field}` of the task {key}")
    if found.inspect:
        refuse_no_place(found.inspect, f"`inspect` of the task {key}")
    for field in ("series", "summary"):
        # Both or none: runs that nobody sums up would end without a word.
        if found.series or found.summary:
            refuse_no_place(getattr(found, field), f"`{field}` of the task {key}")
    _verify_config(found)
    _verify_comparison(found)
    _verify_verbs(found)
    for step in found.next_steps:
        _verify_step(found, step)
    return found


def _verify_config(task: TaskDescription) -> None:
    where, config = f"`config` of the task {task.name}", task.part("config")
    if not (isinstance(config, type) and issubclass(config, RunConfig)):
        raise TaskError(f"{where}: {task.config} is no class of gateflow.runs.config.RunConfig; derive it from that.")
    if (named := config.model_fields["task"].default) != task.name:
        raise TaskError(f"{where}: its field `task` is {named!r:.80}; make it Literal[{task.name!r}] = {task.name!r}.")
    fields = [name for section in config.sections().values() for name in section.model_fields]
    words = [flag(name).removeprefix("--").replace("-", "_") for name in fields if name not in config.unused]
    _refuse_taken_words(words, OF_TRAININGS, where, "every training")


def _verify_comparison(task: TaskDescription) -> None:
    if task.growth:
        refuse_no_place(task.growth, f"`growth` of the task {task.name}")
    given = [field for field in ("begin", "compared") if getattr(task, field)]
    for field in given:
        refuse_no_place(getattr(task, field), f"`{field}` of the task {task.name}")
    if len(given) == 1:
        raise TaskError(f"`{given[0]}` of the task {task.name}: a comparison needs `begin` and `compared`; give both.")
    sections = task.part("config").sections().values()
    if given and not any("cell" in section.model_fields for section in sections):
        raise TaskError(f"`compared` of the task {task.name}: its configuration has no option `cell`; add one.")


def _verify_verbs(task: TaskDescription) -> None:
    if twice := _twice(verb.name for verb in task.verbs):
        raise TaskError(f"`verbs` of the task {task.name}: two are called {twice!r:.80}; rename one.")
    for verb in task.verbs:
        where = f"the verb {verb.name} of the task {task.name}"
        if verb.name in OWN_COMMANDS:
            raise TaskError(f"{where}: `gateflow {verb.name}` is a command for the runs of all tasks; rename the verb.")
        refuse_no_place(verb.function, f"`function` of {where}")
        _verify_options(verb, where)


def _verify_options(verb: Verb, where: str) -> None:
    _refuse_taken_words([option.name for option in verb.options], OF_VERBS, where, "every verb")
    for option in verb.options:
        if not option.name.isidentifier():
            raise TaskError(f"{where}: the option {option.name!r:.80} is no name of an argument, as `top_k` is.")
        if option.type not in TYPES:
            raise TaskError(f"{where}: the option {option.name} has the type {option.type!r:.80}; {_TYPES}.")


_TYPES = f"there are {', '.join(kind.__name__ for kind in TYPES)}"


def _verify_step(task: TaskDescription, step: str) -> None:
    where = f"`next_steps` of the task {task.name}: {step!r:.80}"
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(step) if name is not None}
    except ValueError as error:
        raise TaskError(f"{where} is no text to be filled in ({error}).") from None
    if strangers := sorted(fields - {"run"}):
        raise TaskError(f"{where} asks for {{{strangers[0]}}}; {{run}} is all that is filled in.")


def _refuse_taken_words(words: Collection[str], taken: Collection[str], where: str, whose: str) -> None:
    if twice := _twice(words):
        raise TaskError(f"{where}: two options are called {Option(twice, str, '').flag}; rename one.")
    if strangers := [word for word in words if word in (*taken, *OF_COMMANDS)]:
        raise TaskError(f"{where}: {Option(strangers[0], str, '').flag} is an option of {whose}; rename yours.")


def _twice(names: Iterable[Any]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)

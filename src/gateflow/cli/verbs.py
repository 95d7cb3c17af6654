"""Verbs of tasks, which are data, made into commands; an answer made into text or JSON."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, print_table, watched, write, write_exactly
from gateflow.errors import ConfigError
from gateflow.runs.trust import Trust
from gateflow.tasks import open_run
from gateflow.tasks.description import (
    Answer,
    Figures,
    Given,
    Lines,
    Option,
    Table,
    Tables,
    TaskDescription,
    Verb,
    imported,
)

COMMON = {"evaluate": "How good the model of a run is, on data whose answers are known."}
"""What verbs that several tasks have are, whatever the task."""


def commands(tasks: Sequence[TaskDescription]) -> Iterator[tuple[str, Callable[..., None]]]:
    """One command for each name of a verb, whatever tasks have it."""
    names = dict.fromkeys(verb.name for task in tasks for verb in task.verbs)
    for name in names:
        yield name, _command(name, {task.name: verb for task in tasks if (verb := task.verb(name))})


def _command(name: str, by_task: Mapping[str, Verb]) -> Callable[..., None]:
    """A function with an argument for the run and one for each option that a task has.

    Before: ``Verb("generate", ..., options=(Option("length", int, ...),))``.
    After: ``def generate(run, length, trust_code, json)``.
    """

    def command(run: Path, trust_code: bool, json: bool, **typed: Any) -> None:
        opened, task = open_run(run, Trust(trust_code))
        verb = task.verb(name)
        if verb is None:
            known = ", ".join(["resume", "diagnose", *(verb.name for verb in task.verbs)])
            raise ConfigError(f"{run} is a run of the task {task.name}, which has no verb {name}; it has {known}.")
        answer = imported(verb.function, f"the function of the verb {name} of the task {task.name}")(
            Given(opened, watched), **_words(verb, typed, run, task)
        )
        show(answer, json=json)

    verbs = list(by_task.values())
    # Reversed, so that of two options of one name the first task's words stand in the help.
    options = {option.name: option for verb in reversed(verbs) for option in verb.options}
    ordered = dict.fromkeys(option.name for verb in verbs for option in verb.options)
    # The folder comes first for every verb.
    argument = Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("run", kind, annotation=argument),
        *(_parameter(options[each], _required(each, verbs), _only_for(each, by_task)) for each in ordered),
        inspect.Parameter("trust_code", kind, default=False, annotation=TrustCode),
        inspect.Parameter("json", kind, default=False, annotation=AsJson),
    ]
    # What typer reads: name, docstring and signature.
    command.__name__ = name
    command.__doc__ = _help(name, by_task)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _help(name: str, by_task: Mapping[str, Verb]) -> str:
    """The words of the only task that has the verb; or what is common to all, and then the words of each."""
    texts = {task: inspect.cleandoc(verb.help) for task, verb in by_task.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n\n".join([COMMON.get(name, ""), *(f"Runs of {task}: {text}" for task, text in texts.items())])


def _required(name: str, verbs: Sequence[Verb]) -> bool:
    """Whether every task wants it typed; else the task of the run says so, once that is known."""
    return all(any(option.name == name and option.required for option in verb.options) for verb in verbs)


def _only_for(name: str, by_task: Mapping[str, Verb]) -> str:
    """Words for the help of an option that some tasks have and others lack."""
    having = [task for task, verb in by_task.items() if any(option.name == name for option in verb.options)]
    return "" if len(having) == len(by_task) else f" For runs of {', '.join(having)}."


def _parameter(option: Option, everywhere: bool, only_for: str) -> inspect.Parameter:
    """As typer reads it. Defaults are the verb's: what arrives here is what was typed, or none."""
    words = option.help + only_for + (f" [default: {option.default}]" if option.default not in (None, False) else "")
    bounds: dict[str, Any] = {"min": option.least, "max": option.most} if option.type in (int, float) else {}
    details = typer.Option(option.flag, help=words, show_default=False, **bounds)
    kind = option.type if everywhere else option.type | None
    default = inspect.Parameter.empty if everywhere else None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, details]
    )


def _words(verb: Verb, typed: dict[str, Any], run: Path, task: TaskDescription) -> dict[str, Any]:
    """The arguments of the verb's function."""
    options = {option.name: option for option in verb.options}
    for name, value in typed.items():
        if value is not None and name not in options:
            flag = Option(name, str, "").flag
            raise ConfigError(f"{flag} {value} is no option for {run}, a run of the task {task.name}; leave it out.")
    for name, option in options.items():
        if option.required and typed.get(name) is None:
            raise ConfigError(f"{run} is a run of the task {task.name}, for which {option.flag} is needed.")
    return {name: o.default if typed.get(name) is None else typed[name] for name, o in options.items()}


def show(answer: Answer, *, json: bool) -> None:
    """Print what a verb has found."""
    match answer:
        case Table() | Tables() | Figures() if json:
            print_json(answer.json)
        case Lines():
            # Each as soon as it is there: somebody, or a program, waits for it at the other end of a pipe.
            for text, data in answer.items:
                if json:
                    print_json(data)
                elif text or answer.blank:
                    write_exactly(text, end="\n")
        case Figures():
            for line in answer.lines:
                write(line)
        case Table():
            print_table(answer.columns, answer.rows, title=answer.title)
        case Tables():
            for line in answer.lines:
                write(line)
            for table in answer.tables:
                write()
                print_table(table.columns, table.rows, title=table.title)
        # The whole text at once: JSON has no half of a string.
        case _ if json:
            print_json(answer.json("".join(answer.pieces)))
        case _:
            write_exactly(answer.start)
            for piece in answer.pieces:
                write_exactly(piece)
            write_exactly("", end="\n")

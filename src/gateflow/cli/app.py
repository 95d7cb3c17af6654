"""The verbs of the command line, in the order in which a user meets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateflow.cli.bench import bench
from gateflow.cli.cells import cells
from gateflow.cli.compare import OfATask, compare
from gateflow.cli.diagnose import diagnose
from gateflow.cli.doctor import doctor
from gateflow.cli.explain import explain
from gateflow.cli.failures import UsageError
from gateflow.cli.inspect import inspect
from gateflow.cli.output import say, write
from gateflow.cli.quickstart import quickstart
from gateflow.cli.remedies import remedies
from gateflow.cli.resume import resume
from gateflow.cli.train import train_command
from gateflow.cli.verbs import commands
from gateflow.cli.visible import visible
from gateflow.errors import TaskError
from gateflow.tasks import TASKS, description
from gateflow.tasks.description import TaskDescription

FIRST = ("quickstart", "train", "resume")
"""What comes before all other commands."""


class Verbs(TyperGroup):
    """Typer's errors about the command line repeat words of it, names of files among them."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As typer does."""
        _fold_names()
        with _visible_errors():
            return super().make_context(*args, **kwargs)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order in which they are needed; typer has groups, and so `train`, at the end."""
        found = super().list_commands(ctx)
        return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))

    def invoke(self, ctx: Any) -> Any:
        """As typer does."""
        with _visible_errors():
            return super().invoke(ctx)


def _fold_names() -> None:
    """On a narrow terminal the name of an option goes on in the next line; typer's help would cut it."""
    from typer import rich_utils

    def folding(kind: type) -> Any:
        class Folding(kind):
            def __call__(self, text: Any) -> Any:
                found = super().__call__(text)
                found.overflow = "fold"
                return found

        return Folding()

    rich_utils.highlighter = folding(rich_utils.OptionHighlighter)
    rich_utils.negative_highlighter = folding(rich_utils.NegativeOptionHighlighter)


@contextmanager
def _visible_errors() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        # The message repeats what was typed, and a shell may have put a file's name there.
        error.message = visible(error.message)
        raise


def _version(asked: bool) -> None:
    if asked:
        write(f"gateflow {version('gateflow')}")
        raise typer.Exit


def _schema(asked: bool) -> None:
    if asked:
        write(files("gateflow.cli").joinpath("answers.schema.json").read_text(encoding="utf-8").rstrip())
        raise typer.Exit


def gateflow(
    show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
    schema: Annotated[
        bool, typer.Option("--json-schema", callback=_schema, is_eager=True, help="Say what --json prints.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; works after any command too.")] = False,
) -> None:
    """Recurrent networks: train them on your text, and see what they remember."""


def _described() -> Iterator[TaskDescription]:
    """The tasks whose descriptions hold together; the commands that need no other one work all the same."""
    for name in TASKS:
        try:
            yield description(name)
        except TaskError as error:
            say(f"note: the task {name} is left out. {error}", style="dim")


def build() -> typer.Typer:
    """All commands, those of the tasks that are listed now among them."""
    # Exceptions are told by `TwoLines`, in two lines and without locals.
    app = typer.Typer(cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    train = typer.Typer(no_args_is_help=True, help="Train a model on your data.")
    tasks = list(_described())
    app.callback()(gateflow)
    app.command()(quickstart)
    for task in tasks:
        train.command(task.name)(train_command(task))
    app.add_typer(train, name="train")
    app.command()(resume)
    for name, command in commands(tasks):
        app.command(name)(command)
    for verb in (diagnose, inspect, cells, explain, compare, remedies, bench, doctor):
        app.command(cls=OfATask if verb is compare else None)(verb)
    return app

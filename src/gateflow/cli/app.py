"""The verbs of the command line, in the order in which a user meets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateflow.cli.agreement import agreement
from gateflow.cli.bench import bench
from gateflow.cli.cells import cells
from gateflow.cli.compare import compare
from gateflow.cli.diagnose import diagnose
from gateflow.cli.doctor import doctor
from gateflow.cli.evaluate import evaluate
from gateflow.cli.explain import explain
from gateflow.cli.generate import generate
from gateflow.cli.output import write
from gateflow.cli.quickstart import quickstart
from gateflow.cli.remedies import remedies
from gateflow.cli.resume import resume
from gateflow.cli.train_lm import train_lm
from gateflow.cli.visible import visible


class Verbs(TyperGroup):
    """Typer's complaints about the command line repeat words of it, names of files among them."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As typer does."""
        with _visible_complaints():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """As typer does."""
        with _visible_complaints():
            return super().invoke(ctx)


_UsageError: Any = typer.BadParameter.__mro__[1]  # typer has a click of its own, or uses that which is installed


@contextmanager
def _visible_complaints() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = visible(error.message)
        raise


app = typer.Typer(cls=Verbs, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
train = typer.Typer(no_args_is_help=True, help="Train a model on your data.")


def _version(asked: bool) -> None:
    if asked:
        write(f"gateflow {version('gateflow')}")
        raise typer.Exit


@app.callback()
def gateflow(
    show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; works after any command too.")] = False,
) -> None:
    """Recurrent networks: train them on your text, and see what they remember."""


app.command()(quickstart)
train.command("lm")(train_lm)
app.add_typer(train, name="train")
for verb in (resume, evaluate, generate, diagnose, agreement, cells, explain, compare, remedies, bench, doctor):
    app.command()(verb)

"""``gateflow train TASK``: from data to run folder, a command for each task, an option for each field of its config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson
from gateflow.cli.settings import (
    Settings,
    refuse_idle,
    refuse_missing_files,
    refuse_unknown_cells,
    typed_words,
    with_settings,
)
from gateflow.runs.config import RunConfig
from gateflow.tasks.description import TaskDescription


def train_command(task: TaskDescription) -> Callable[..., None]:
    """The command that trains a task."""
    kind: type[RunConfig] = task.part("config")

    def train(
        out: Annotated[Path, typer.Option(help="Folder of the run; must not exist yet.")],
        settings: Settings,
        config: Annotated[Path | None, typer.Option(help="TOML file with options; those typed here win.")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace the run that is there.")] = False,
        trust_code: Annotated[bool, typer.Option("--trust-code", help="Let --config name a cell of your own.")] = False,
        json: AsJson = False,
    ) -> None:
        from gateflow.runs.trust import Trust

        wanted = kind.build(settings, config)
        refuse_idle(settings, wanted.idle())
        refuse_unknown_cells(wanted)
        refuse_missing_files(settings, wanted)
        # Code that the user has typed is code that the user wants; that of a file may be somebody else's.
        named = [code for code in wanted.named_code() if code in typed_words(settings)]
        # One name is enough for the tasks there are; a task with more of them is trusted by --trust-code.
        trust = Trust(trust_code, typed=named[0] if named else None)
        if config is not None:
            for code in wanted.named_code():
                trust.check(code, config)

        # Here, for it imports torch: a wrong option is told before that.
        from gateflow.cli.training import set_up_and_train

        set_up_and_train(task, out, wanted, trust, force=force, json=json)

    train.__doc__ = task.help
    return with_settings(kind, without=kind.unused, words=task.option_help)(train)

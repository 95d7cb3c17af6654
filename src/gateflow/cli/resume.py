"""``gateflow resume``: go on where a run was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    epochs: Annotated[int | None, typer.Option(help="Go on beyond the end, to so many passes.", min=1)] = None,
    max_updates: Annotated[int | None, typer.Option(help="Go on beyond --max-updates, to so many.", min=1)] = None,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted or killed; the losses are those of a run that never was.

    Example: `gateflow resume runs/mine`

    With --epochs or --max-updates a run goes on beyond its end. A learning rate that falls then falls to the new end,
    so it jumps up where the run had ended.
    """
    from gateflow.runs.trust import Trust
    from gateflow.tasks import open_run

    opened, task = open_run(run, Trust(trust_code))

    from gateflow.cli.training import train_run  # after a folder that is no run has been told: it imports torch

    if epochs is not None or max_updates is not None:
        opened.extend(epochs=epochs, max_updates=max_updates)
    train_run(task, opened, json=json)

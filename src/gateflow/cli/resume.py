"""``gateflow resume``: go on where a run was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode


def resume(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", show_default=False)],
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """Go on with a run that was interrupted or killed; the losses are those of a run that never was.

    Example: `gateflow resume runs/mine`
    """
    # torch is imported by the command, not by its help.
    from gateflow.cli.training import train_run
    from gateflow.runs.trust import Trust
    from gateflow.tasks import open_run

    opened, task = open_run(run, Trust(trust_code))
    train_run(task, opened, json=json)

"""``gateflow train lm``: a language model from text to run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateflow.cli.output import AsJson
from gateflow.cli.settings import PIPED, Settings, refuse_idle, with_settings


@with_settings(words={"train": PIPED})
def train_lm(
    out: Annotated[Path, typer.Option(help="Folder of the run; must not exist yet.")],
    settings: Settings,
    config: Annotated[Path | None, typer.Option(help="TOML file with options; those typed here win.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that is there.")] = False,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Let --config name a cell of your own.")] = False,
    json: AsJson = False,
) -> None:
    """Train a language model on a text.

    Example: `gateflow train lm --data corpus.txt --out runs/mine --cell full_gru --epochs 5`

    Ctrl-C saves; `gateflow resume` goes on. Several processes:
    `torchrun --nproc-per-node 2 -m gateflow train lm ...`
    """
    from gateflow.training.config import RunConfig
    from gateflow.training.trust import Trust

    wanted = RunConfig.build(settings, config)
    refuse_idle(settings, wanted)
    trust = Trust(trust_code, typed=settings["model"].get("cell"))
    if config is not None:
        trust.check(wanted.model.cell, config)

    from gateflow.cli.training import set_up_and_train

    set_up_and_train(out, wanted, trust, force=force, json=json)

"""``gateflow diagnose``: how far a model's gradient reaches, what is wrong with it, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateflow.cli.output import AsJson, TrustCode, print_json, say, write
from gateflow.cli.visible import VisibleConsole
from gateflow.errors import ConfigError

if TYPE_CHECKING:
    from gateflow.flow import Report


def diagnose(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(metavar="PACKAGE.MODULE:FACTORY", help="A model that is not a run; see below.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Text for a run, else its validation text; for --model one batch, see below.")
    ] = None,
    needed_lag: Annotated[int | None, typer.Option(min=1, help="Steps that the task has to look back.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the report with its plots: one HTML file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --out replace a file.")] = False,
    trust_code: TrustCode = False,
    json: AsJson = False,
) -> None:
    """How far back the gradient of a model reaches, what keeps it from reaching farther, and what to do about it.

    Example: `gateflow diagnose runs/mine --needed-lag 30 --out flow.html`

    With `--model my_model:build` it looks at any torch model with recurrent layers: `build()` returns the module, or
    `(module, loss)` with `loss(module, batch)`. `--data` then names a `.safetensors` file with one batch (or a `.npy`
    file with one array): the tensor `x` is the first argument of the model, every other tensor, such as `lengths`, the
    argument of its name; a loss gets them all as a dictionary. Without a loss the outputs are taken in random
    directions.
    """
    if (run is None) == (model is None):
        raise ConfigError("name either the folder of a run or --model PACKAGE.MODULE:FACTORY.")
    if out is not None:
        check_free(out, force)
    with VisibleConsole(stderr=True).status("measuring, also under other initial weights"):
        of_run = run is not None
        report = _of_run(run, data, needed_lag, trust_code) if of_run else _of_model(model or "", data, needed_lag)
    if out is not None:
        report.save(out)
    if json:
        print_json(report.to_dict())
    else:
        show(report)
    say(f"Report with plots: {out}" if out else "With --out flow.html it is written as a page with plots.", style="dim")


def check_free(path: Path, force: bool) -> None:
    """Before anything is measured: refuse a file that exists, and a folder that does not."""
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(
            f"--out {path}: {'this is a folder' if path.is_dir() else 'there is no such folder'}; name a file."
        )
    if path.exists() and not force:
        raise ConfigError(f"--out {path} exists; choose another name, or replace it with --force.")


def show(report: Report) -> None:
    """Findings and tables with sparklines, on stdout."""
    console = VisibleConsole()
    # Into a file as plain text, of one width whoever runs it.
    if console.is_terminal:
        console.print(report)
    else:
        write(str(report))


def _of_run(run: Path, data: Path | None, needed_lag: int | None, trust_code: bool) -> Report:
    from gateflow.runs.trust import Trust
    from gateflow.tasks import open_run

    opened, task = open_run(run, Trust(trust_code))
    return task.part("diagnose")(opened, data, needed_lag)


def _of_model(name: str, data: Path | None, needed_lag: int | None) -> Report:
    from gateflow.flow import diagnose as examine
    from gateflow.runs.external_model import as_arguments, load_model, read_batch

    if data is None:
        raise ConfigError("--model needs --data: a .safetensors or .npy file with one batch for the model.")
    tensors = read_batch(data)
    model, loss = load_model(name)
    return examine(model, tensors if loss else as_arguments(model, tensors), loss, needed_lag=needed_lag)

"""``gateflow diagnose``: how far a model's gradient reaches, what is wrong with it, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from gateflow.cli.failures import dim_note
from gateflow.cli.output import AsJson, TrustCode, print_json, say, write
from gateflow.cli.visible import VisibleConsole
from gateflow.errors import ConfigError

if TYPE_CHECKING:
    from gateflow.flow import Report


def diagnose(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FILE.py:FACTORY", help="A model that is not a run; see below.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of --model: its trained weights, a .safetensors file.")] = None,
    evaluating: Annotated[bool, typer.Option("--eval", help="Of --model: look at it in eval mode.")] = False,
    device: Annotated[str | None, typer.Option(help="Of --model: where it runs, such as cuda.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of --model: seed of its weights. [default: 0]")] = None,
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

    With `--model my_model.py:build` (or `package.module:build`) it looks at any torch model with recurrent layers:
    `build()` returns the module, or `(module, loss)` with `loss(module, batch)`. Without `--weights` its weights are
    those that `build()` gives it. `--data` then names a `.safetensors` file with one batch (or a `.npy`
    file with one array): the tensor `x` is the first argument of the model, every other tensor, such as `lengths`, the
    argument of its name; a loss gets them all as a dictionary. Without a loss the outputs are taken in random
    directions.
    """
    if (run is None) == (model is None):
        raise ConfigError("name either the folder of a run or --model FILE.py:FACTORY.")
    of_model = {"--weights": weights, "--eval": evaluating or None, "--device": device, "--seed": seed}
    if run is not None and (typed := [name for name, value in of_model.items() if value is not None]):
        raise ConfigError(f"{typed[0]} belongs to --model; {run} has its own weights, and is looked at in eval mode.")
    if out is not None:
        check_free(out, force)
    with VisibleConsole(stderr=True).status("measuring, also under other initial weights"):
        if run is not None:
            report = _of_run(run, data, needed_lag, trust_code)
        else:
            how = _Looking(weights, evaluating, device or "cpu", seed or 0)
            report = _of_model(model or "", data, needed_lag, how)
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


class _Looking(NamedTuple):
    """How a model that is no run is to be looked at."""

    weights: Path | None
    evaluating: bool
    device: str
    seed: int


def _of_model(name: str, data: Path | None, needed_lag: int | None, how: _Looking) -> Report:
    from gateflow.flow import diagnose as examine
    from gateflow.runs.external_model import as_arguments, load_model, on_device, read_batch, read_weights

    if data is None:
        raise ConfigError("--model needs --data: a .safetensors or .npy file with one batch for the model.")
    device = on_device(how.device)
    tensors = {part: tensor.to(device) for part, tensor in read_batch(data).items()}
    model, loss = load_model(name, how.seed)
    if how.weights is not None:
        read_weights(model, how.weights)
    else:
        dim_note(f"the weights are those that {name} gave it (seed {how.seed}); --weights FILE reads trained ones.")
    model.to(device)
    if how.evaluating:
        model.eval()
    return examine(model, tensors if loss else as_arguments(model, tensors), loss, needed_lag=needed_lag)

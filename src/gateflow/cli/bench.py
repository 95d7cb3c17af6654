"""``gateflow bench``: how fast a cell is on this machine, next to the eager loop and torch's own layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gateflow.cli.output import AsJson, print_json, print_table, watched
from gateflow.cli.settings import equations_of
from gateflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateflow.benchmarking.timing import Call, Timing
    from gateflow.layers import Recurrent

# Of each size; small enough for their products to be counted in 64 bits, so that too much memory is told as such.
MOST = 1 << 20


def bench(
    cell: Annotated[str, typer.Option(help="A name, or package.module:Class for one of your own.")] = "lstm",
    batch: Annotated[int, typer.Option(min=1, max=MOST, help="Rows B.")] = 32,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Time steps T.")] = 100,
    input_size: Annotated[int, typer.Option("--input", min=1, max=MOST, help="Input size I.")] = 128,
    hidden_size: Annotated[int, typer.Option("--hidden", min=1, max=MOST, help="Hidden size H.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Samples of each peer; the medians are compared.")] = 7,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where; cuda is a GPU.")] = "cpu",
    tune: Annotated[
        bool, typer.Option("--tune", help="Time torch's cells on this GPU, for layers to run where they are faster.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Time a cell on this machine: training and inference, next to the eager loop and torch.nn.

    Example: `gateflow bench --cell peephole_lstm --batch 32 --steps 100 --hidden 256`

    The peers take turns in one process. Where torch lacks the cell, `torch.nn.LSTM` stands there as a yardstick.
    With `--tune` other options have no effect: cells of torch's are timed at many sizes, on torch's kernels and on
    gateflow's, and what is found is kept for layers on this GPU.
    """
    import os
    import warnings

    cell = equations_of(cell)

    import torch  # after a wrong name has been told

    from gateflow import Recurrent
    from gateflow.benchmarking.machine import machine
    from gateflow.errors import ReferencePathWarning
    from gateflow.recurrence import explain

    if (tune or device == "cuda") and not torch.cuda.is_available():
        raise ConfigError(f"{'--tune' if tune else '--device cuda'} takes a GPU, and torch finds none here.")
    if tune:
        _tune(as_json=json)
        return
    warnings.simplefilter("ignore", ReferencePathWarning)  # the title says it
    layer = Recurrent(cell, input_size, hidden_size).to(device)
    x = torch.randn(steps, batch, input_size, device=device)
    _, choice = explain(layer, x).rows[0]
    times, threads = _measured(layer, x, rounds), torch.get_num_threads()
    facts: dict[str, Any] = {"cell": cell, "path": choice.path, "reason": choice.reason, "threads": threads}
    facts |= {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    facts |= {"batch": batch, "steps": steps, "input": input_size, "hidden": hidden_size, "load": os.getloadavg()[0]}
    if json:
        print_json(
            {
                **facts,
                "machine": machine(),
                "seconds": {mode: {n: t._asdict() for n, t in by.items()} for mode, by in times.items()},
            }
        )
        return
    print_table(("", "training", "inference"), _rows(times), title=_title(facts))


def _measured(layer: Recurrent, x: Any, rounds: int) -> dict[str, dict[str, Timing]]:
    """Per mode the times of gateflow, of the eager loop and of torch.nn."""
    import torch
    from torch import nn

    from gateflow.benchmarking import peers
    from gateflow.benchmarking.timing import interleaved

    width, hidden = x.shape[-1], layer.output_size
    same = peers.torch_layer(layer, width, hidden)
    name = f"torch.nn.{type(same).__name__}" if same else "torch.nn.LSTM (another cell)"
    # A yardstick that everybody knows.
    other = (same or nn.LSTM(width, hidden)).to(x.device)
    cotangent = torch.randn(*x.shape[:2], hidden, device=x.device)
    modes: dict[str, Callable[[Any], Call]] = {
        "training": lambda layer: peers.training(layer, x, cotangent),
        "inference": lambda layer: peers.inference(layer, x),
    }
    return {
        mode: interleaved(
            {
                peer: peers.awaited(call, x.device)
                for peer, call in (
                    ("gateflow", of(layer)),
                    ("eager loop", peers.on_reference(of(layer))),
                    (name, of(other)),
                )
            },
            rounds=rounds,
            # A slow cell on the eager loop takes seconds for a sample, and three rounds are always run.
            seconds=10,
        )
        for mode, of in modes.items()
    }


def _rows(times: dict[str, dict[str, Timing]]) -> list[list[str]]:
    return [[name, *(_cell(by[name], by["gateflow"]) for by in times.values())] for name in times["training"]]


def _cell(theirs: Timing, ours: Timing) -> str:
    """Milliseconds, and for a peer how much faster ours is."""
    text = f"{1e3 * theirs.median:,.3g} ms"
    return text if theirs is ours else f"{text}  ({theirs.median / ours.median:.2f} ×)"


def _tune(*, as_json: bool) -> None:
    """Times torch's cells on the GPU that is there, and keeps the figures."""
    import os

    import torch

    from gateflow.backends import BACKENDS
    from gateflow.backends.cuda.measured import Measured, keep
    from gateflow.benchmarking import tuning

    if obstacle := BACKENDS["cuda"].obstacle():
        raise ConfigError(f"--tune has nothing to compare: {obstacle}.")
    device, number = torch.device("cuda"), len(tuning.POINTS)
    for _ in watched(tuning.build(tuning.POINTS, device, os.cpu_count() or 1), "kernels", number):
        pass
    found = [figure for point in watched(tuning.POINTS, "layers", number) for figure in tuning.figures(point, device)]
    table = Measured(torch.cuda.get_device_name(), torch.__version__, tuple(found))
    file = keep(table)
    if as_json:
        print_json(
            {"card": table.card, "torch": table.torch, "file": str(file), "figures": [f._asdict() for f in found]}
        )
        return
    rows = [
        [f.cell, f.precision, str(f.hidden_size), str(f.samples), f"{f.ours:,.1f}", f"{f.torchs:,.1f}"] for f in found
    ]
    title = f"{table.card}, torch {table.torch}: µs of a training for each time step; kept in {file}"
    print_table(("cell", "products", "units", "samples", "gateflow", "torch"), rows, title=title)


def _title(facts: dict[str, Any]) -> str:
    shape = f"B {facts['batch']}, T {facts['steps']}, I {facts['input']}, H {facts['hidden']}"
    where = f"{facts['cell']} on the {facts['path']} path ({facts['reason']})"
    where_from = facts["device"] if facts["device"] != "cpu" else f"{facts['threads']} threads"
    how = f"{where_from}, load {facts['load']:.1f}; (×): how many times as fast gateflow is"
    return f"{where}\n{shape}; {how}"

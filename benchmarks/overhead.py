"""What Python and torch take of a call, beside an operator that does nothing; and whole layers called for one step.

    python -m benchmarks.overhead [--json FILE]

Microseconds of processor time, on one thread: least and median of calls that take turns. `empty operator` has the
schema of gateflow's and returns tensors of the same shapes, so it is what torch's own machinery costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import gateflow
from benchmarks.shapes import Shape, parse
from gateflow.benchmarking.machine import machine

SMALL = parse("1/10/16/16")
"""So small that nearly all of it is overhead."""
ONE_STEP = [parse("1/1/256/256"), parse("8/1/256/256")]
"""What reinforcement learning does at every step of a game."""
ROUNDS, CALLS = 40, 25

Call = Callable[[], object]


class Cost(NamedTuple):
    """Microseconds of a call."""

    least: float
    median: float


@torch.library.custom_op("gateflow_benchmarks::empty", mutates_args=())
def empty_operator(
    step: str,
    x: Tensor,
    weights: Sequence[Tensor],
    states: Sequence[Tensor],
    holds: Sequence[Tensor],
    offsets: Tensor | None,
    reverse: bool,
    rounded: bool,
    memory: str,
) -> list[Tensor]:
    """Outputs of the right shapes, with whatever their memory held."""
    histories = [x.new_empty(x.shape[0], s.shape[1]) for s in states]
    return [*histories, *map(torch.empty_like, states), x.new_empty(x.shape[0], 4 * states[0].shape[1])]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, x, weights, states, *_ = inputs
    ctx.set_materialize_grads(False)
    ctx.counts = len(weights), len(states)
    ctx.save_for_backward(x, *weights, *states, *output)


def _backward(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    x, *rest = ctx.saved_tensors
    n, m = ctx.counts
    made = [torch.empty_like(t) for t in rest[: n + m]]
    return None, torch.empty_like(x), made[:n], made[n:], [], None, None, None, None


empty_operator.register_autograd(_backward, setup_context=_remember)


class Empty(nn.Module):
    """A layer with the weights of an LSTM that calls the empty operator."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.layer = nn.LSTM(inputs, hidden)

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, None]:
        """An output of the right shape."""
        weights, states = list(self.layer.parameters()), [part[0] for part in state]
        lines = x.reshape(-1, x.shape[2])
        made = empty_operator("", lines, weights, states, [], None, False, False, "fast")
        return made[0].view(*x.shape[:2], -1), None


LAYERS = {"gateflow": gateflow.LSTM, "torch.nn": nn.LSTM, "empty operator": Empty}


def call_of(layer: nn.Module, shape: Shape, *, training: bool) -> Call:
    """A call of a layer with a state, and in training its backward pass."""
    x, given = torch.randn(shape.T, shape.B, shape.I), torch.ones(shape.T, shape.B, shape.H)
    state = torch.zeros(1, shape.B, shape.H), torch.zeros(1, shape.B, shape.H)

    def inference() -> None:
        with torch.no_grad():
            layer(x, state)

    def step() -> None:
        for weight in layer.parameters():
            weight.grad = None
        layer(x, state)[0].backward(given)

    return step if training else inference


def taking_turns(calls: Mapping[str, Call]) -> dict[str, Cost]:
    """The processor time of each."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(CALLS):
            call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            # Of this process: what others do meanwhile costs caches, but no time.
            began = time.process_time()
            for _ in range(CALLS):
                call()
            found[name].append(1e6 * (time.process_time() - began) / CALLS)
    return {name: Cost(min(times), statistics.median(times)) for name, times in found.items()}


def main() -> None:
    """Print a line per shape, with and without gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    table, rows = (
        Table("LSTM, B/T/I/H", title=f"microseconds a call, {machine()['cpu']}, torch {torch.__version__}"),
        [],
    )
    for name in LAYERS:
        table.add_column(f"{name}: least", justify="right")
        table.add_column("median", justify="right")
    for shape in (SMALL, *ONE_STEP):
        for training in (False, True):
            torch.manual_seed(0)
            layers = {name: made(shape.I, shape.H) for name, made in LAYERS.items()}
            costs = taking_turns({n: call_of(layer, shape, training=training) for n, layer in layers.items()})
            mode = "training" if training else "inference"
            rows.append({"shape": shape.name, "mode": mode, "microseconds": {n: c._asdict() for n, c in costs.items()}})
            table.add_row(f"{shape.name} {mode}", *(f"{each:.0f}" for cost in costs.values() for each in cost))
    Console(width=140).print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

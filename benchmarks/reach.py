"""What `flow.reach` costs: its time in backward passes of the same layer, on one thread.

    python -m benchmarks.reach

`T = 128`, `B = 8`, `H = 256`, an LSTM, every pair of steps. The product alone: of the numbers that are multiplied for
all pairs (`floor=0`), at the machine's matrix peak.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import gateflow
from benchmarks.measure import WIDTH, matrix_product
from gateflow.flow import reach

T, B, H, ROUNDS = 128, 8, 256, 9


def main() -> None:
    """Print the medians and their ratios."""
    torch.manual_seed(0)
    # The ratio is that of the work; how well either is shared out is another question.
    torch.set_num_threads(1)
    ours, theirs, x = gateflow.LSTM(H, H), torch.nn.LSTM(H, H), torch.randn(T, B, H)
    theirs.load_state_dict(ours.state_dict())
    calls = {
        "backward pass of gateflow.LSTM": lambda: backward(ours, x),
        "backward pass of torch.nn.LSTM": lambda: backward(theirs, x),
        "reach": lambda: seconds(lambda: reach(ours, x, loss)),
        "reach, floor=0": lambda: seconds(lambda: reach(ours, x, loss, floor=0)),
        "matrix product": lambda: seconds(matrix_product(WIDTH, "fp32")),
    }
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, measured in calls.items():
            times[name].append(measured())
    found = {name: statistics.median(taken) for name, taken in times.items()}
    ours_s, theirs_s = list(found.values())[:2]
    peak, pairs = 2 * WIDTH**3 / found.pop("matrix product"), T * (T + 1) / 2
    found["the product of all pairs, at the peak"] = 2 * pairs * B * 4 * H * H / peak
    for name, taken in found.items():
        print(f"{name:40}{1e3 * taken:8.1f} ms  {taken / ours_s:5.1f} of ours  {taken / theirs_s:5.1f} of torch's")


def loss(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Something that enters at every step."""
    return model(x)[0].square().mean()


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def backward(model: torch.nn.Module, x: torch.Tensor) -> float:
    """Of a backward pass alone."""
    value = loss(model, x)
    return seconds(value.backward)


if __name__ == "__main__":
    main()

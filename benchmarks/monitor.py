"""What watching a training run costs: processor time per step with a `Monitor` at its default setting, and without.

    python -m benchmarks.monitor

Alternates stretches of either, so that whatever else the machine does falls on both; each begins with a first
measurement, which a long run has once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from gateflow import Recurrent
from gateflow.flow import Monitor

STRETCH, STRETCHES = 200, 4


def seconds(model: torch.nn.Module, x: torch.Tensor, after: Callable[[torch.Tensor], None]) -> float:
    """Of a stretch of training steps, with `after(loss)` behind each backward pass."""
    optimizer = torch.optim.Adam(model.parameters())
    began = time.process_time()
    for _ in range(STRETCH):
        optimizer.zero_grad()
        loss = (model(x)[0] - x.mean(-1, keepdim=True)).square().mean()
        loss.backward()
        after(loss)
        optimizer.step()
    # Time of the processor, of which other processes take none.
    return time.process_time() - began


def main() -> None:
    """Print both, and the share."""
    torch.manual_seed(0)
    model, x = Recurrent("lstm", 128, 256), torch.randn(35, 32, 128)
    # Thrown away: it builds the kernels.
    seconds(model, x, lambda loss: None)
    alone, watched, measurements = [], [], 0
    for _ in range(STRETCHES):
        alone.append(seconds(model, x, lambda loss: None))
        monitor = Monitor(model, clock=time.process_time)
        model(x)
        monitor.warm_up()
        watched.append(seconds(model, x, monitor.step))
        measurements += len(monitor.history)
        monitor.close()
    # The quickest stretch of each: what disturbs a run only ever makes it slower.
    plain, seen = min(alone), min(watched)
    each = 1e3 / STRETCH
    print(f"{plain * each:.2f} ms a step alone, {seen * each:.2f} watched: {seen / plain - 1:+.1%}", end="; ")
    print(f"the quickest of {STRETCHES} stretches each; {measurements} measurements in {STRETCH * STRETCHES} steps")


if __name__ == "__main__":
    main()

"""A forecaster at work: the one function by which series get their forecasts, whoever asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gateflow.layers.evaluating import evaluating
from gateflow.tasks.forecaster.batches import side_by_side
from gateflow.tasks.forecaster.model import ForecasterModel, in_order
from gateflow.tasks.forecaster.prepared import Prepared

__all__ = ["forecasts"]

# Series that are read side by side; it changes no forecast.
BATCH = 32


@torch.inference_mode()
def forecasts(
    model: ForecasterModel, series: Sequence[Prepared], first: Sequence[int] | None = None, *, calibrated: bool = True
) -> Iterator[NDArray[np.float32]]:
    """Yield for each series, in order, quantiles ``[origins, horizon, N, Q]`` in its own units.

    Args:
        model: of the run that the series were prepared for.
        series: each is read from its first step, whatever is forecast.
        first: of each series the first step from which is forecast, and from all after it too. Default: the last step
            alone.
        calibrated: with the widths that the validation has found right; else as the network says.
    """
    first = [len(each) - 1 for each in series] if first is None else first
    for begin in range(0, len(series), BATCH):
        rows = range(begin, min(begin + BATCH, len(series)))
        # Each batch by itself, and its answers in the order of the file.
        yield from _batch(model, [series[row] for row in rows], [first[row] for row in rows], calibrated)


def _batch(
    model: ForecasterModel, series: Sequence[Prepared], first: Sequence[int], calibrated: bool
) -> Iterator[NDArray[np.float32]]:
    device = model.head.weight.device
    batch = side_by_side([(each.read, each.ahead, np.empty((len(each), 0), dtype=np.float32)) for each in series])
    here = batch.to(device)
    with evaluating(model):
        states, windows = model.states(here.read, here.lengths), model.windows(here.ahead)
        for row, (each, origin) in enumerate(zip(series, first, strict=True)):
            steps = slice(origin, len(each))
            found = model.departures(states[steps, row, None], windows[steps, row, None])[:, 0]
            found = model.calibrated(found) if calibrated else in_order(found)
            yield each.naive[steps][..., None] + each.scale[:, None] * found.cpu().numpy()

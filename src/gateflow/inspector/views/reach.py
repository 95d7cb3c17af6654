"""How far the gradient of each prediction reaches back in a text: `gateflow.flow.reach` on it."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from gateflow import flow
from gateflow.errors import ConfigError
from gateflow.flow.capture import trace_model
from gateflow.flow.reach import reach_of
from gateflow.inspector.views.question import Answer, OfText
from gateflow.inspector.views.reading import Reading

__all__ = ["LayerReach", "ReachAnswer", "ReachQuestion", "reach"]


class ReachQuestion(OfText):
    """How far does the gradient reach?"""


class LayerReach(Answer):
    """Of one layer and direction: row `t`, column `k`: the norm at step `k` as a share of that at the own step."""

    name: str
    tokens: list[str]
    horizon: int
    targets: list[int]
    shares: list[list[float | None]]
    decay: list[float]


class ReachAnswer(Answer):
    """All layers."""

    layers: list[LayerReach]


def reach(reading: Reading, question: ReachQuestion, tick: Callable[[int, int], None]) -> ReachAnswer:
    """The loss at each step is that of what came, or of what is likeliest.

    Args:
        reading: of the text.
        question: nothing more.
        tick: told how many of how many steps have been done; what it raises ends the measurement.

    Raises:
        ConfigError: there is nothing that a loss could be of.
    """
    inspected = reading.inspected
    if not inspected.outcomes:
        raise ConfigError("this task has nothing to choose between; `gateflow diagnose` measures its reach.")

    def loss(*_: object) -> Tensor:
        return _nats(reading, inspected.hidden(reading.steps, reading.vectors))

    trace = trace_model(inspected.model, None, loss)
    total, done = sum(replay.steps for replay in trace.replays), 0

    def step() -> None:
        nonlocal done
        done += 1
        tick(min(done, total), total)

    found = reach_of(trace, tick=step)
    return ReachAnswer(layers=[_layer(reading, layer) for layer in found.layers.values() if layer.norms.shape[2] == 1])


def _nats(reading: Reading, hidden: Tensor) -> Tensor:
    output = next(iter(reading.inspected.outcomes))
    log_p = reading.inspected.log_probabilities(output, reading.inspected.scores(hidden)[output])
    data = reading.steps.data
    if reading.inspected.about == "next" and isinstance(data, Tensor) and len(data) > 1:
        return -log_p[:-1].gather(1, data[1:, None].to(log_p.device)).sum()
    return -log_p.amax(1).sum()


def _layer(reading: Reading, layer: flow.LayerReach) -> LayerReach:
    norms = layer.norms[:, :, 0]
    own = norms.gather(1, layer.at.clamp(min=0))
    shares = (norms / own).double()
    rows = [[x if math.isfinite(x) else None for x in row] for row in shares.tolist()]
    return LayerReach(
        name=layer.name,
        tokens=reading.names(layer.name),
        horizon=layer.horizon,
        targets=list(layer.targets),
        shares=rows,
        decay=layer.decay.values.tolist(),
    )

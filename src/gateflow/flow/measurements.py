"""Measures one model on one batch: all that the rules of `diagnose` ask about, from one trace of the model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.cells import Cell
from gateflow.errors import FlowError
from gateflow.flow.adjoint import ReferenceGradients, backward, reference_gradients
from gateflow.flow.capture import HALF, Loss, Replay, Trace, trace_model, without_autocast
from gateflow.flow.capture.probe import leaves_behind
from gateflow.flow.gates import Gates, gates_of
from gateflow.flow.lyapunov import Lyapunov, lyapunov_of
from gateflow.flow.reach import LayerReach, Reach, reach_of
from gateflow.flow.table import Share
from gateflow.flow.terms import Terms, terms_of
from gateflow.layers import is_torchs
from gateflow.remedies.clip import NormClipper

__all__ = ["Measurements", "flat_loss", "measure"]

# Multiplications that the terms may take, about a second of one core: `diagnose` is
# to stay quick, and each target costs steps times rows times the size of the weight.
_WORK = 2e10
# Targets whose terms are looked at one by one, at most; all others are summed up.
_MOST_TARGETS = 16


@dataclass(frozen=True, eq=False)
class Measurements:
    """The measurements of one model on one batch.

    Attributes:
        model: the model.
        trace: the run of the model that all were measured on.
        reach, gates, lyapunov, terms: what the instruments found; none where one was left out.
        gradients: norm of the loss's gradient by each parameter that can be trained; none if it does not depend on it.
        arriving: per layer and direction `[T]`, the norm over the batch of the gradient of the whole loss that arrives
            at the states of each step.
        needed_lag: steps back that the task has to reach, if known.
        window: steps of truncated back-propagation, if known or seen.
        clipping: figures of the clipper under the names of `NormClipper.statistics`; empty if there was none.
        fed: layers whose outputs or final states another recurrent layer reads, so that a gradient may come to an
            early step of theirs by way of that one.
        history: records of the run so far, with `step`, and `loss` or `horizon`.
        quantised: the 16-bit type in which the gates are computed, if they are.
    """

    model: nn.Module
    trace: Trace
    reach: Reach
    gates: Gates
    lyapunov: Lyapunov | None
    terms: Terms | None
    gradients: Mapping[str, float | None]
    arriving: Mapping[str, Sequence[float]]
    needed_lag: int | None
    window: int | None
    fed: frozenset[str]
    clipping: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]
    quantised: torch.dtype | None

    @property
    def farthest(self) -> LayerReach:
        """The layer and direction with the longest horizon: what passes anywhere, passes."""
        return max(self.reach.layers.values(), key=lambda layer: (layer.horizon, len(layer.decay.values)))

    @property
    def longest(self) -> int:
        """The largest lag that the batch has."""
        return max(len(layer.decay.values) for layer in self.reach.layers.values()) - 1

    @property
    def lag(self) -> int:
        """The lag at which reach is judged: what the task needs, as far as the batch goes; else the longest."""
        return min(self.needed_lag or self.longest, self.longest)

    @property
    def left(self) -> Share:
        """The share of the gradient left at that lag, in the layer where most is left."""
        known = [left for layer in self.layers if not math.isnan(left := layer.left_at(self.lag))]
        return max(known, default=Share(0.0))

    @property
    def layers(self) -> list[LayerReach]:
        """Reach per layer and direction."""
        return list(self.reach.layers.values())

    @property
    def short(self) -> bool:
        """Whether less than 1 % of the gradient is left at the needed lag."""
        return self.needed_lag is not None and self.left <= 0.01

    @property
    def learns(self) -> bool:
        """Whether the loss of the history, of six records and more, has fallen."""
        losses = self.series("loss")
        return len(losses) >= 6 and all(map(math.isfinite, losses)) and not flat_loss(losses)

    def cell(self, title: str) -> Cell:
        """The cell of a layer and direction."""
        return self.trace.sequences[title][0].cell

    def series(self, name: str) -> list[float]:
        """The values of one figure over the history, where it has any."""
        return [float(record[name]) for record in self.history if isinstance(record.get(name), int | float)]


def flat_loss(losses: Sequence[float]) -> bool:
    """Whether the last third of at least six losses is on average no more than 2 % below the first third."""
    third = len(losses) // 3
    if third < 2 or not all(math.isfinite(loss) for loss in losses):
        return False
    # Thirds, and not two records: a loss goes up and down from one batch to the next.
    first, last = sum(losses[:third]) / third, sum(losses[-third:]) / third
    return last > first - 0.02 * abs(first)


def measure(
    model: nn.Module,
    batch: Any,
    loss: Loss | None,
    *,
    needed_lag: int | None,
    window: int | None,
    clip_history: NormClipper | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    history: Sequence[Mapping[str, Any]],
    targets: int | Sequence[int] | None,
    memory_limit: int | None,
    seed: int,
) -> Measurements:
    """All measurements, on one trace of the model, and one run of the model left to itself to compare with."""
    for name, value in {"needed_lag": needed_lag, "window": window}.items():
        # `True` is an int in Python, and no number of steps.
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise FlowError(f"{name} is a number of steps, at least 1, or None; found {value!r}")
    with without_autocast(model):
        trace = trace_model(model, batch, loss, seed)
        found = reach_of(trace, targets=targets, memory_limit=memory_limit, seed=seed)
        reference = reference_gradients(model, batch, loss, seed)
        measured: dict[str, Any] = {
            "gates": gates_of(trace),
            "lyapunov": lyapunov_of(trace, seed=seed),
            "terms": _terms(trace, reference, memory_limit, seed),
            "arriving": _arriving(trace),
        }
    return Measurements(
        model=model,
        trace=trace,
        reach=found,
        gradients=reference.parameters,
        **measured,
        needed_lag=needed_lag,
        window=window or _window_seen(found),
        fed=_fed(trace),
        clipping=_clipping(clip_history),
        history=tuple(history),
        quantised=_quantised(trace, model),
    )


def _terms(trace: Trace, reference: ReferenceGradients, memory_limit: int | None, seed: int) -> Terms | None:
    """A sample of targets that keeps the work within bounds."""
    weights = [replay.cell._parameters.get("weight_hh") for replay in trace.replays]
    each = sum(p.steps * p.rows * w.numel() for p, w in zip(trace.replays, weights, strict=True) if w is not None)
    # One less than the work allows: all other targets are carried together, as one more.
    count = min(_MOST_TARGETS, int(_WORK // each) - 1) if each else 0
    if count < 1:
        return None
    return terms_of(trace, reference, targets=count, memory_limit=memory_limit, seed=seed)


def _arriving(trace: Trace) -> dict[str, list[float]]:
    """`‖∂E/∂s_k‖` of the whole loss, all targets carried as one."""
    found = {title: [0.0] * (ps[-1].offset + ps[-1].steps) for title, ps in trace.sequences.items()}

    def visit(replay: Replay, p: int, alive: slice, delta: list[Tensor]) -> None:
        # In float64, so that the square of a gradient of 1e-30
        # is not zero: `subnormals` asks for numbers that small.
        squares = (torch.linalg.vector_norm(part.double()).square() for part in delta)
        found[replay.title][replay.time(p)] = math.sqrt(sum(float(square) for square in squares))

    backward(trace, [], visit, rest=trace.targets())
    return found


def _window_seen(found: Reach) -> int | None:
    """The longest window between steps at which the model detaches its state."""
    windows = []
    for layer in found.layers.values():
        edges = [0, *layer.cuts, layer.norms.shape[1]]
        windows += [b - a for a, b in itertools.pairwise(edges)] if layer.cuts else []
    return max(windows, default=None)


def _fed(trace: Trace) -> frozenset[str]:
    """Titles of the layers that another one reads; windows of one sequence are one layer."""
    owners = {leaf: replay.title for replay in trace.replays for leaf in (replay.y, *replay.final)}
    read = (
        (replay.title, owners[leaf])
        for replay in trace.replays
        for leaf in leaves_behind([replay.x, *replay.start])
        if leaf in owners
    )
    return frozenset(read_one for reader, read_one in read if reader != read_one)


def _clipping(history: NormClipper | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> dict[str, float]:
    """The figures that rules read, from whichever form they came in."""
    if history is None:
        return {}
    # A clipper knows its own quantiles; records of a run have means
    # over logging intervals, of which only the middle is used.
    if isinstance(history, NormClipper):
        return history.statistics()
    if isinstance(history, Mapping):
        return {str(name): float(value) for name, value in history.items() if isinstance(value, int | float)}
    seen = [record for record in history if isinstance(record.get("clipped"), int | float)]
    if not seen:
        return {}
    norms = sorted(float(r["gradient_norm"]) for r in seen if isinstance(r.get("gradient_norm"), int | float))
    middle = norms[len(norms) // 2] if norms else math.nan
    return {"steps": float(seen[-1].get("step", len(seen))), "clipped_share": seen[-1]["clipped"], "norm_p50": middle}


def _quantised(trace: Trace, model: nn.Module) -> torch.dtype | None:
    """Gates are 16-bit in a 16-bit model, and in torch's layers under autocast, not in gateflow's."""
    dtype, device = trace.replays[0].y.dtype, trace.replays[0].x.device.type
    if dtype in HALF:
        return dtype
    torchs = any(is_torchs(m) or isinstance(m, nn.RNNCellBase) for m in model.modules())
    return torch.get_autocast_dtype(device) if torchs and torch.is_autocast_enabled(device) else None

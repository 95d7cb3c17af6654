"""Measures what the rules of `diagnose` ask about."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import FlowError
from gateflow.flow.adjoint.sweep import backward
from gateflow.flow.capture.replay import HALF, Pass
from gateflow.flow.capture.trace import Loss, Trace, evaluate, trace, unchanged_random_state
from gateflow.flow.case import Case
from gateflow.flow.gates import gates
from gateflow.flow.lyapunov import lyapunov
from gateflow.flow.reach import Reach, reach
from gateflow.flow.terms import Terms, terms
from gateflow.layers import is_torchs, without_wrapper
from gateflow.remedies.clip import NormClipper

__all__ = ["examine", "without_autocast"]

_WORK = 2e10  # multiplications that the terms may take


def examine(
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
) -> Case:
    """All measurements, each on the same batch with the same random numbers."""
    for name, value in {"needed_lag": needed_lag, "window": window}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise FlowError(f"{name} is a number of steps, at least 1, or None; found {value!r}")
    with without_autocast(model):
        found = reach(model, batch, loss, targets=targets, memory_limit=memory_limit, seed=seed)
        run = trace(model, batch, loss, seed)
        measured: dict[str, Any] = {
            "gates": gates(model, batch, loss, seed=seed),
            "lyapunov": lyapunov(model, batch, loss, seed=seed),
            "terms": _terms(run, model, batch, loss, memory_limit, seed),
            "gradients": _gradients(model, batch, loss, seed),
            "arriving": _arriving(run),
        }
    return Case(
        model=model,
        run=run,
        reach=found,
        **measured,
        needed_lag=needed_lag,
        window=window or _window_seen(found),
        clipping=_clipping(clip_history),
        history=tuple(history),
        quantised=_quantised(run, model),
    )


def without_autocast(model: nn.Module) -> torch.autocast:
    """A context in which layers compute in their weights' own type, which is what can be followed step by step."""
    return torch.autocast(next((p.device.type for p in model.parameters()), "cpu"), enabled=False)


def _terms(
    run: Trace, model: nn.Module, batch: Any, loss: Loss | None, memory_limit: int | None, seed: int
) -> Terms | None:
    """A sample of targets that keeps the work within bounds."""
    weights = [done.cell._parameters.get("weight_hh") for done in run.passes]
    each = sum(p.steps * p.rows * w.numel() for p, w in zip(run.passes, weights, strict=True) if w is not None)
    count = min(16, int(_WORK // each) - 1) if each else 0
    if count < 1:
        return None
    return terms(model, batch, loss, targets=count, memory_limit=memory_limit, seed=seed)


def _gradients(model: nn.Module, batch: Any, loss: Loss | None, seed: int) -> dict[str, float | None]:
    wanted = {without_wrapper(name): p for name, p in model.named_parameters() if p.requires_grad}
    if not wanted:
        return {}
    with unchanged_random_state(model), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        total = evaluate(model, batch, loss, seed)
        grads = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    norms = (None if g is None else float(torch.linalg.vector_norm(g.double())) for g in grads)
    return dict(zip(wanted, norms, strict=True))


def _arriving(run: Trace) -> dict[str, list[float]]:
    """`‖∂E/∂s_k‖` of the whole loss, all targets carried as one."""
    found = {title: [0.0] * (ps[-1].offset + ps[-1].steps) for title, ps in run.sequences.items()}

    def visit(done: Pass, p: int, alive: slice, delta: list[Tensor]) -> None:
        squares = (torch.linalg.vector_norm(part.double()).square() for part in delta)
        found[done.title][done.time(p)] = math.sqrt(sum(float(square) for square in squares))

    backward(run, [], visit, rest=run.targets())
    return found


def _window_seen(found: Reach) -> int | None:
    """The longest stretch between steps at which the model detaches its state."""
    stretches = []
    for layer in found.layers.values():
        edges = [0, *layer.cuts, layer.norms.shape[1]]
        stretches += [b - a for a, b in itertools.pairwise(edges)] if layer.cuts else []
    return max(stretches, default=None)


def _clipping(history: NormClipper | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> dict[str, float]:
    """The figures that rules read, from whichever form they came in."""
    if history is None:
        return {}
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


def _quantised(run: Trace, model: nn.Module) -> torch.dtype | None:
    """Gates are 16-bit in a 16-bit model, and in torch's layers under autocast, not in gateflow's."""
    dtype, device = run.passes[0].y.dtype, run.passes[0].x.device.type
    if dtype in HALF:
        return dtype
    torchs = any(is_torchs(m) or isinstance(m, nn.RNNCellBase) for m in model.modules())
    return torch.get_autocast_dtype(device) if torchs and torch.is_autocast_enabled(device) else None

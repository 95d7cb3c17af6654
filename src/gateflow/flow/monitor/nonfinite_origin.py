"""Where the first NaN or infinity of a step arises: layer, time step, gate, row."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, FlowError, NonFiniteError
from gateflow.flow.activations import activations_of
from gateflow.flow.adjoint.sweep import backward
from gateflow.flow.capture.probe import probed
from gateflow.flow.capture.replay import Pass, State
from gateflow.flow.capture.trace import Loss, evaluate, trace, unchanged_random_state
from gateflow.layers import cells_in

__all__ = ["in_words", "origin_of"]


def origin_of(model: nn.Module, batch: Any, loss: Loss | None, loss_is_finite: bool) -> dict[str, Any]:
    """Where the first NaN or infinity arises, in the order of computation: weights, forward, loss, backward.

    Returns:
        `what`, and where known `layer`, `step`, `row`, `gate` or `weight`.
    """
    bad = [name for name, w in model.named_parameters() if not bool(w.isfinite().all())]
    found = {"what": "weights", "weight": bad[0]} if bad else {}
    seen: list[Pass] = []
    stops = contextlib.suppress(NonFiniteError, FlowError)
    with stops, unchanged_random_state(model), torch.enable_grad(), probed(model) as passes:
        seen = passes
        evaluate(model, batch, loss, 0)
    forward = next((place for done in seen if (place := _in_pass(done))), None)
    if forward is not None or found:
        return found | (forward or {})
    if not loss_is_finite:
        return {"what": "loss"}
    return _gate_of_gradient(model) | _in_backward(model, batch, loss)


def in_words(origin: dict[str, Any], loss: float) -> str:
    """What `origin_of` found, for a message."""
    if origin["what"] == "loss":
        return f"the loss is {loss}, and everything below it is finite"
    what = {"activations": "NaN or infinity arises", "input": "NaN or infinity comes in with the input"}
    words = [what.get(origin["what"], f"the {origin['what']} hold NaN or infinity")]
    places = {"layer": "layer {}", "step": "time step {}", "gate": "gate {}", "row": "row {}", "weight": "weight {}"}
    return ", ".join(words + [text.format(origin[name]) for name, text in places.items() if name in origin])


def _in_pass(done: Pass) -> dict[str, Any] | None:
    """The first step of a pass at which its input or a part of its state is not finite."""
    broken_input = ~done.x.detach().isfinite().all(-1) & done.there()
    parts = {name: ~part[1:].isfinite().all(-1) for name, part in zip(done.cell.states, done.states, strict=True)}
    either = broken_input | torch.stack(list(parts.values())).any(0)
    if not bool(either.any()):
        return None
    p = int(either.any(1).nonzero()[0])
    row = int(either[p].nonzero()[0])
    place = {"layer": done.title, "step": done.time(p), "row": row}
    if bool(broken_input[p, row]):
        return {"what": "input", **place}
    gates = {name: a.values for name, a in activations_of([done]).items()}
    when = done.steps - 1 - p if done.reversed else p
    gate = next((name for name, v in gates.items() if not bool(v[when, row].isfinite().all())), None)
    state = next(name for name, bad in parts.items() if bool(bad[p, row]))
    return {"what": "activations", **place, "gate": gate or state}


def _in_backward(model: nn.Module, batch: Any, loss: Loss | None) -> dict[str, Any]:
    """The latest step of the highest layer whose state receives a gradient that is not finite."""
    try:
        run = trace(model, batch, loss)
    except (NonFiniteError, FlowError):
        return {"what": "gradients"}
    found = [_place(done, entry) for done, entry in zip(reversed(run.passes), reversed(run.entries), strict=True)]
    found = [place for place in found if place]

    def visit(done: Pass, p: int, alive: slice, delta: list[Tensor]) -> None:
        bad = ~torch.cat(delta, dim=-1).isfinite().all(-1)
        if not found and bool(bad.any()):
            found.append({"layer": done.title, "step": done.time(p), "row": int(bad[0].nonzero()[0])})

    if not found:
        backward(run, [], visit, rest=run.targets())
    return {"what": "gradients", **(found[0] if found else {})}


def _place(done: Pass, entry: State) -> dict[str, Any]:
    """The latest step at which what enters from the loss itself is not finite."""
    bad = ~torch.cat(entry, dim=-1).isfinite().all(-1) & done.there()
    if not bool(bad.any()):
        return {}
    p, row = bad.nonzero()[-1].tolist()
    return {"layer": done.title, "step": done.time(p), "row": row}


def _gate_of_gradient(model: nn.Module) -> dict[str, Any]:
    """The first weight whose gradient is not finite, and its gate."""
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    weight = next((name for name, g in grads.items() if not bool(g.isfinite().all())), None)
    if weight is None:
        return {}
    with contextlib.suppress(ConfigError):
        for name, cell in cells_in(model).items():
            w = cell._parameters.get("weight_hh")
            if w is None or w.grad is None:
                continue
            for gate in cell.gates:
                if not bool(w.grad[cell.gate_rows(gate)].isfinite().all()):
                    return {"weight": weight, "layer": name, "gate": gate}
    return {"weight": weight}

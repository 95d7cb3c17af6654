"""Where the first NaN or infinity of a step arises: layer, time step, gate, row."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from gateflow.errors import ConfigError, FlowError, NonFiniteError
from gateflow.flow.activations import activations_of
from gateflow.flow.adjoint import backward
from gateflow.flow.capture import Loss, Replay, State, evaluate, trace_model, unchanged_random_state
from gateflow.flow.capture.probe import probed
from gateflow.layers import cells_in

__all__ = ["in_words", "origin_of"]


def origin_of(model: nn.Module, batch: Any, loss: Loss | None, loss_is_finite: bool) -> dict[str, Any]:
    """Where the first NaN or infinity arises, in the order of computation: weights, forward, loss, backward.

    Returns:
        `what`, and where known `layer`, `step`, `row`, `gate` or `weight`.
    """
    bad = [name for name, w in model.named_parameters() if not bool(w.isfinite().all())]
    found = {"what": "weights", "weight": bad[0]} if bad else {}
    # The probe refuses a layer whose output is not finite, and
    # keeps what it had replayed until then: that is looked through.
    seen: list[Replay] = []
    stops = contextlib.suppress(NonFiniteError, FlowError)
    with stops, unchanged_random_state(model), torch.enable_grad(), probed(model) as replays:
        seen = replays
        evaluate(model, batch, loss, 0)
    forward = next((place for replay in seen if (place := _in_pass(replay))), None)
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


def _in_pass(replay: Replay) -> dict[str, Any] | None:
    """The first step of a replay at which its input or a part of its state is not finite."""
    broken_input = ~replay.x.detach().isfinite().all(-1) & replay.there()
    parts = {name: ~part[1:].isfinite().all(-1) for name, part in zip(replay.cell.states, replay.states, strict=True)}
    either = broken_input | torch.stack(list(parts.values())).any(0)
    if not bool(either.any()):
        return None
    p = int(either.any(1).nonzero()[0])
    row = int(either[p].nonzero()[0])
    place = {"layer": replay.title, "step": replay.time(p), "row": row}
    if bool(broken_input[p, row]):
        return {"what": "input", **place}
    gates = {name: a.values for name, a in activations_of([replay]).items()}
    when = replay.steps - 1 - p if replay.reversed else p
    gate = next((name for name, v in gates.items() if not bool(v[when, row].isfinite().all())), None)
    state = next(name for name, bad in parts.items() if bool(bad[p, row]))
    return {"what": "activations", **place, "gate": gate or state}


def _in_backward(model: nn.Module, batch: Any, loss: Loss | None) -> dict[str, Any]:
    """The latest step of the highest layer whose state receives a gradient that is not finite."""
    # All was finite on the way forward, so this trace is a whole
    # one, unless the loss itself refuses to be differentiated.
    try:
        trace = trace_model(model, batch, loss)
    except (NonFiniteError, FlowError):
        return {"what": "gradients"}
    found = [
        _place(replay, entry) for replay, entry in zip(reversed(trace.replays), reversed(trace.entries), strict=True)
    ]
    found = [place for place in found if place]

    def visit(replay: Replay, p: int, alive: slice, delta: list[Tensor]) -> None:
        # A sweep goes back in time and down the layers: the first
        # step that it finds is the latest of the highest layer.
        bad = ~torch.cat(delta, dim=-1).isfinite().all(-1)
        if not found and bool(bad.any()):
            found.append({"layer": replay.title, "step": replay.time(p), "row": int(bad[0].nonzero()[0])})

    # What enters from the loss itself is looked at first: then it arose above the recurrent layers.
    if not found:
        backward(trace, [], visit, rest=trace.targets())
    return {"what": "gradients", **(found[0] if found else {})}


def _place(replay: Replay, entry: State) -> dict[str, Any]:
    """The latest step at which what enters from the loss itself is not finite."""
    bad = ~torch.cat(entry, dim=-1).isfinite().all(-1) & replay.there()
    if not bool(bad.any()):
        return {}
    p, row = bad.nonzero()[-1].tolist()
    return {"layer": replay.title, "step": replay.time(p), "row": row}


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

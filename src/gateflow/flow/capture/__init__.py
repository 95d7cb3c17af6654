"""Capture: one run of a model, with everything that the instruments look at kept.

`trace_model(model, batch, loss, seed)` runs the model once and returns a `Trace`. While it runs, `probe.py`
stands in for each recurrent layer, whosever it is:

    gateflow's layers          by `layers.stack.layers_run_by`, which hands each layer over with its options
    torch.nn.RNN, GRU, LSTM    by forward hooks, with the equations of `torch_equivalents.py` over torch's weights
    cells in a user's loop     by forward hooks, each call a sequence of one step, joined to the call before it

and has `replay.py` run the layer's cell again, step by step, all states kept. The output of that replay is
compared with what the layer computed itself, so that nothing is measured on a model other than the user's. It
then goes on into the rest of the model as a *leaf*: so the model's graph falls apart at the recurrent layers,
into pieces that autograd can take one by one, and the steps in between, which the `adjoint` room takes.

    x ──► layer 0 ──► leaf y₀ ──► rest of the model ──► layer 1 ──► leaf y₁ ──► loss
           Replay                  autograd's graph       Replay                  │
             ▲                                              ▲                     │
             └───────── entries: what of the loss enters each replay directly ◄───┘

A `Trace` holds the replays in the order in which they ran, and for each the gradient that enters it straight
from the loss. `unchanged.py` has the contexts that leave the model's buffers and the random state as they
were.

*Boundary:* nothing here is differentiated through time. *Invariant:* after a trace the model, its gradients
and the random state are, to the bit, what they were.
"""

from gateflow.flow.capture.probe import probed
from gateflow.flow.capture.replay import HALF, Change, Replay, State
from gateflow.flow.capture.trace import Loss, Trace, evaluate, trace_model
from gateflow.flow.capture.unchanged import unchanged_buffers, unchanged_random_state, without_autocast

__all__ = [
    "HALF",
    "Change",
    "Loss",
    "Replay",
    "State",
    "Trace",
    "evaluate",
    "probed",
    "trace_model",
    "unchanged_buffers",
    "unchanged_random_state",
    "without_autocast",
]

"""Adjoint: gradients of the loss at many time steps, carried backward through a trace, step by step.

`backward(trace, targets, visit)` is back-propagation through time for all targets at once. For each target
`t` it carries `δ_{t,k} = ∂E_t/∂s_k` from `k = t` to the first step and shows each to `visit`, which is an
instrument of the room above:

    reach       takes down their norms
    terms       multiplies them by `∂⁺s_k/∂W`
    arriving    (in `measurements.py`) adds all targets up

It goes through the replays of a trace in reverse order (`sweep.py`). Within a replay it multiplies by the
adjoint of each step (`step_adjoint.py`): for most cells a fast one, which cuts the step at its products
(`tape.py`), keeps the unit-wise factors in between for all steps (`unit_wise.py`) and writes into memory that
it uses again (`cotangent_buffers.py`); for the others autograd's. From a replay to the ones below it goes
through the model's own graph (`between_layers.py`).

    loss ─► entries ─► Replay of layer 1 ─► graph between ─► Replay of layer 0 ─► input
                       J_Tᵀ, …, J_1ᵀ                         J_Tᵀ, …, J_1ᵀ
                          │ │ │                                 │ │ │
                       visit(replay, step, targets, δ)       visit(replay, step, targets, δ)

`reference_gradient.py` is the judge of all this: the gradient of the same loss by the model and autograd
alone, in a run with no replay. What `terms` adds up is compared with it on every call.

*Boundary:* knows nothing of norms, lags or tables. *Invariant:* the sum over targets and steps is autograd's
gradient, to rounding.
"""

from gateflow.flow.adjoint.reference_gradient import ReferenceGradients, reference_gradients
from gateflow.flow.adjoint.step_adjoint import adjoint_of
from gateflow.flow.adjoint.sweep import Visit, backward
from gateflow.flow.adjoint.tape import Tape, record

__all__ = ["ReferenceGradients", "Tape", "Visit", "adjoint_of", "backward", "record", "reference_gradients"]

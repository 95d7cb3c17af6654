"""The flow instruments: how far the gradient reaches in any model with recurrent layers, and why.

Data goes through the rooms from left to right; each knows those to its left.

    capture/       adjoint/         reach, terms, lyapunov,     measurements ─► rules/ ─► diagnose ─► report/
    model, batch   J_kᵀ carried     gates, activations:             all           what      one call     one
    ─► a Trace ─►  backward     ─►  what an instrument found ─►   on one trace    it means               HTML page
                                            │
                                            ├─► what_if    the same batch under other initial weights
                                            └─► monitor/   the same while a model trains

* `capture`: one run of the model, its recurrent layers replayed step by step, checked, and kept as a `Trace`.
* `adjoint`: `δ_{t,k} = ∂E_t/∂s_k` for many targets `t` at once, and autograd's own gradient to compare with.
* The measures, a file each. `reach(model, batch, loss)` traces a model and measures it; `reach_of(trace)` takes a trace
  that is there already, so that `diagnose` runs the model once for all of them. `sampling.py` says which targets are
  looked at, `decay.py` makes a curve over the lag of norms, `table.py` is how results look in a terminal.
* `input_reach.py`: reach to what was read, of models without a recurrence too; `by_lag.py`: figures for each lag.
* `contingency.py`, `excerpts.py`: what no instrument measures, but a task counts or chooses, and hands in to be shown.
* `rules`: findings with numbers, source and remedy. `report`: the page. `monitor`: records of a training.

*Boundary:* the model, its gradients and the random state are afterwards what they were. *Invariant:* what is measured
adds up to autograd's gradient.
"""

from gateflow.flow.activations import Activation
from gateflow.flow.by_lag import ByLag
from gateflow.flow.contingency import ContingencyTable
from gateflow.flow.dependency import Dependency
from gateflow.flow.diagnose import Report, diagnose
from gateflow.flow.excerpts import Excerpt, Excerpts
from gateflow.flow.gates import Gates, LayerGates, gates
from gateflow.flow.input_reach import input_reach
from gateflow.flow.lyapunov import LayerLyapunov, Lyapunov, lyapunov
from gateflow.flow.monitor import Monitor, restore
from gateflow.flow.reach import LayerReach, Reach, reach
from gateflow.flow.rules import Finding
from gateflow.flow.terms import LayerTerms, Terms, terms
from gateflow.flow.what_if import WhatIf, WhatIfRow, what_if

__all__ = [
    "Activation",
    "ByLag",
    "ContingencyTable",
    "Dependency",
    "Excerpt",
    "Excerpts",
    "Finding",
    "Gates",
    "LayerGates",
    "LayerLyapunov",
    "LayerReach",
    "LayerTerms",
    "Lyapunov",
    "Monitor",
    "Reach",
    "Report",
    "Terms",
    "WhatIf",
    "WhatIfRow",
    "diagnose",
    "gates",
    "input_reach",
    "lyapunov",
    "reach",
    "restore",
    "terms",
    "what_if",
]

"""The flow instruments: how far the gradient reaches in any model with recurrent layers, and why."""

from gateflow.flow.activations import Activation
from gateflow.flow.diagnose import Report, diagnose
from gateflow.flow.gates import Gates, LayerGates, gates
from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.layer_terms import LayerTerms
from gateflow.flow.lyapunov import LayerLyapunov, Lyapunov, lyapunov
from gateflow.flow.monitor.monitor import Monitor, restore
from gateflow.flow.reach import Reach, reach
from gateflow.flow.rules.finding import Finding
from gateflow.flow.terms import Terms, terms
from gateflow.flow.what_if import WhatIf, WhatIfRow, what_if

__all__ = [
    "Activation",
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
    "lyapunov",
    "reach",
    "restore",
    "terms",
    "what_if",
]

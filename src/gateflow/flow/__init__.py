"""The flow instruments: how far the gradient reaches in any model with recurrent layers, and why."""

from gateflow.flow.activations import Activation
from gateflow.flow.gates import Gates, LayerGates, gates
from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.layer_terms import LayerTerms
from gateflow.flow.lyapunov import LayerLyapunov, Lyapunov, lyapunov
from gateflow.flow.reach import Reach, reach
from gateflow.flow.terms import Terms, terms

__all__ = [
    "Activation",
    "Gates",
    "LayerGates",
    "LayerLyapunov",
    "LayerReach",
    "LayerTerms",
    "Lyapunov",
    "Reach",
    "Terms",
    "gates",
    "lyapunov",
    "reach",
    "terms",
]

"""The flow instruments: how far the gradient reaches in any model with recurrent layers, and why."""

from gateflow.flow.layer_reach import LayerReach
from gateflow.flow.reach import Reach, reach
from gateflow.flow.terms import LayerTerms, Terms, terms

__all__ = ["LayerReach", "LayerTerms", "Reach", "Terms", "reach", "terms"]

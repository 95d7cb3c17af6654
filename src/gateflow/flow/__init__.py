"""The flow instruments: how far the gradient reaches in any model with recurrent layers, and why."""

from gateflow.flow.reach import LayerReach, Reach, reach

__all__ = ["LayerReach", "Reach", "reach"]

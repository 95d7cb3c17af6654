"""A cell over time: the reference loop that defines it, the vendor kernels, and the choice between them."""

from gateflow.recurrence.dispatch import Choice, choose, force_path, prepare, run_layer
from gateflow.recurrence.explain import Explanation, explain
from gateflow.recurrence.reference import reverse, unroll

__all__ = ["Choice", "Explanation", "choose", "explain", "force_path", "prepare", "reverse", "run_layer", "unroll"]

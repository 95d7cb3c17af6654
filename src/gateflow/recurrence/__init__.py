"""A cell over time: the reference loop that defines it, the vendor kernels, and the choice between them."""

from gateflow.recurrence.dispatch import Choice, choose, force_path, path_is_forced, prepare, run_layer
from gateflow.recurrence.explain import Explanation, explain
from gateflow.recurrence.leaving import leaves_python, portable
from gateflow.recurrence.native import histories
from gateflow.recurrence.reference import filled, reverse, unroll
from gateflow.recurrence.stream import Stream, streams_now

__all__ = [
    "Choice",
    "Explanation",
    "Stream",
    "choose",
    "explain",
    "filled",
    "force_path",
    "histories",
    "leaves_python",
    "path_is_forced",
    "portable",
    "prepare",
    "reverse",
    "run_layer",
    "streams_now",
    "unroll",
]

"""`torch.fx` sees a layer as one node, as it sees those of `torch.nn`, and not the loop inside."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.fx import Proxy

__all__ = ["as_leaf", "is_traced"]


def is_traced(x: Any) -> bool:
    """Whether `torch.fx` goes through the model with a stand-in for `x`."""
    return isinstance(x, Proxy)


def as_leaf(layer: nn.Module, x: Any, *others: Any, **named: Any) -> Any:
    """The call of a layer as a node of the graph that is being traced, without the `None`s at its end."""
    # As a user writes the call: arguments that were left out are left out in the graph.
    while others and others[-1] is None:
        others = others[:-1]
    given = {name: value for name, value in named.items() if value is not None}
    return x.tracer.create_proxy("call_module", x.tracer.path_of_module(layer), (x, *others), given)

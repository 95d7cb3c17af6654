"""What a decoder or a language model carries from step to step, whose rows are put in another order.

A state is a tensor whose first dimension is the rows, a tuple, list or dict of states, None, or an object of the user's
with methods `select(index)` and, for a language model, `join(other)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gateflow.errors import ArgumentTypeError

__all__ = ["device_of", "join", "select"]


def select(state: Any, index: Tensor) -> Any:
    """The rows of a state that `index` names, `[R]`, in that order; one may come several times.

    Raises:
        ArgumentTypeError: there is something in the state that has no rows.

    Example:
        >>> select([(torch.arange(6).view(3, 2), None)], torch.tensor([2, 0]))
        [(tensor([[4, 5],
                [0, 1]]), None)]
    """
    if isinstance(state, Tensor):
        return state.index_select(0, index.to(state.device))
    if hasattr(state, "select"):
        return state.select(index)
    return _each(lambda part: select(part, index), state)


def join(first: Any, second: Any) -> Any:
    """The rows of two states of one form, one below the other.

    Raises:
        ArgumentTypeError: there is something in the state that has no rows.

    Example:
        >>> join({"h": torch.zeros(1, 2)}, {"h": torch.ones(1, 2)})
        {'h': tensor([[0., 0.],
                [1., 1.]])}
    """
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if hasattr(first, "join"):
        return first.join(second)
    return _each(join, first, second)


def _each(do: Any, state: Any, *others: Any) -> Any:
    """The same done to each part of a state."""
    if state is None:
        return None
    if isinstance(state, dict):
        return {name: do(part, *(other[name] for other in others)) for name, part in state.items()}
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return type(state)(*map(do, state, *others))
    if isinstance(state, (tuple, list)):
        return type(state)(map(do, state, *others))
    raise ArgumentTypeError(
        f"a state must be made of tensors, tuples, lists, dicts and None, or have methods `select` and `join`; found "
        f"{type(state).__name__}"
    )


def device_of(state: Any) -> torch.device:
    """Where the first tensor of a state lies; the CPU if there is none.

    Example:
        >>> device_of({"h": (None, torch.zeros(2))})
        device(type='cpu')
    """
    return next((tensor.device for tensor in _tensors(state)), torch.device(getattr(state, "device", "cpu")))


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, (tuple, list)) else ()
    for part in parts:
        yield from _tensors(part)

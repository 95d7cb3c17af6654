"""A layer of ours from weights that others have named, ordered and laid out in their own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gateflow.errors import ExportError
from gateflow.layers import Recurrent

__all__ = ["checked", "layer_of_weights"]


def layer_of_weights(cell: str, directions: Sequence[Mapping[str, Tensor]], **options: Any) -> Recurrent:
    """A layer with these weights.

    Args:
        cell: its registered name.
        directions: for the forward and, if there are two, the reverse cell its weights by our names.
        options: of `Recurrent`.
    """
    weight, recurrent = directions[0]["weight_ih"], directions[0]["weight_hh"]
    layer = Recurrent(
        cell,
        weight.shape[1],
        recurrent.shape[1],
        bias="bias_ih" in directions[0],
        bidirectional=len(directions) == 2,
        dtype=weight.dtype,
        **options,
    )
    with torch.no_grad():
        for suffix, weights in zip(layer.suffixes(0), directions, strict=True):
            for name, value in weights.items():
                getattr(layer, name + suffix).copy_(value)
    return layer


def checked(array: Any, shape: Sequence[int | None], what: str) -> Tensor:
    """A weight as a tensor of its own, once it is known to be one.

    Args:
        array: what was found.
        shape: what is needed; None where any size will do.
        what: whose weight it is, for the message.

    Raises:
        ExportError: it has another number of dimensions, other sizes, or a type that is no float32 or float64.

    Example:
        >>> import numpy as np
        >>> checked(np.zeros((8, 3)), (8, None), "W").dtype
        torch.float64
        >>> checked(np.zeros((9, 3)), (8, None), "W")
        Traceback (most recent call last):
            ...
        gateflow.errors.ExportError: W has the shape [9, 3], and [8, any] is needed
    """
    found = list(getattr(array, "shape", ()))
    fits = len(found) == len(shape) and all(b in (None, a) for a, b in zip(found, shape, strict=True))
    if not fits or 0 in found:
        needed = ", ".join("any" if size is None else str(size) for size in shape)
        raise ExportError(f"{what} has the shape {found}, and [{needed}] is needed")
    if str(array.dtype) not in ("float32", "float64"):
        raise ExportError(f"{what} is of {array.dtype}; weights are taken as float32 or float64")
    return torch.from_numpy(array.copy())

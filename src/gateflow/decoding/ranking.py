"""The greatest numbers of each row, in an order that ties do not leave open."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ROUNDING", "WIDEST", "greatest"]

ROUNDING = 0.05
"""A probability of e^0.05 is one that bfloat16 has rounded up; scores of a network are further off once it is sure."""


WIDEST = 1 << 16
"""Hypotheses of a beam at most. Useful are a few; of far more a search would allocate until there is no memory left."""


def greatest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` greatest of each row of `values [R, V]`, greatest first, and their places; of equal ones the first.

    `torch.topk` leaves open which of equal numbers it takes.

    Example:
        >>> greatest(torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]]), 2)
        (tensor([[3., 3.]]), tensor([[1, 2]]))
    """
    found, places = values.topk(count, 1)
    least = found[:, -1:]
    # What is impossible is never taken, so it does not matter which of it comes.
    open_rows = ((values >= least).sum(1) > count) & (least[:, 0] > -torch.inf)
    if bool(open_rows.any()):
        sorted_rows = values[open_rows].sort(dim=1, descending=True, stable=True)
        found[open_rows], places[open_rows] = sorted_rows.values[:, :count], sorted_rows.indices[:, :count]
    by_place = places.argsort(1)
    order = by_place.gather(1, found.gather(1, by_place).sort(dim=1, descending=True, stable=True).indices)
    return found.gather(1, order), places.gather(1, order)

"""Examples cut into parts: folds for testing, and some held out for validation; the same cut whoever asks.

Data often come sorted by their labels, so parts are drawn, and not the first or the last examples. The order is that of
a fixed seed: trainings of several seeds differ in all but their data.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from random import Random

__all__ = ["drawn", "folds_of"]


def folds_of(labels: Sequence[Hashable], folds: int, *, stratified: bool = True) -> list[int]:
    """The fold of each example, from 0; folds are equally large, but for one example.

    Args:
        labels: of each example.
        folds: how many.
        stratified: whether each fold has its share of every label, but for one example.

    Source: Kohavi (1995). A study of cross-validation and bootstrap for accuracy estimation and model selection. IJCAI.

    Example:
        >>> found = folds_of(["a"] * 4 + ["b"] * 2, 2)
        >>> sorted(found[:4]), sorted(found[4:])
        ([0, 0, 1, 1], [0, 1])
    """
    found = [0] * len(labels)
    for place, i in enumerate(_ordered(labels, stratified)):
        found[i] = place % folds
    return found


def drawn(labels: Sequence[Hashable], share: float, *, stratified: bool = True) -> list[int]:
    """The numbers of examples that are held out, in their order: about this share, at least one.

    Args:
        labels: of each example.
        share: between 0 and 1.
        stratified: whether they have their share of every label.

    Example:
        >>> found = drawn(["a"] * 8 + ["b"] * 4, 0.25)
        >>> len(found), sum(i >= 8 for i in found)
        (3, 1)
    """
    order, count = _ordered(labels, stratified), max(1, round(share * len(labels)))
    # Evenly spread over the order, in which each label stands together.
    return sorted(order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count))


def _ordered(labels: Sequence[Hashable], stratified: bool) -> list[int]:
    """All numbers in an order by chance; those of one label together, if parts are to be stratified."""
    order = Random("parts").sample(range(len(labels)), len(labels))
    if not stratified:
        return order
    first: dict[Hashable, int] = {}
    for label in labels:
        first.setdefault(label, len(first))
    return sorted(order, key=lambda i: first[labels[i]])

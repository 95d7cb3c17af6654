"""Examples cut into parts: folds for testing, and some held out for validation; the same cut whoever asks.

Data often come sorted by their labels, so parts are drawn, and not the first or the last examples. The order is that of
a fixed seed: trainings of several seeds differ in all but their data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from random import Random

from gateflow.errors import DataError

__all__ = ["drawn", "folds_of"]


def folds_of(
    labels: Sequence[Hashable], folds: int, *, stratified: bool = True, groups: Sequence[Hashable] | None = None
) -> list[int]:
    """The fold of each example, from 0; folds are equally large, but for one example.

    Args:
        labels: of each example.
        folds: how many.
        stratified: whether each fold has its share of every label, but for one example.
        groups: of each example, its author say. No group is in two folds, which are then as equal as groups allow, and
            not stratified.

    Raises:
        DataError: fewer groups than folds.

    Source: Kohavi (1995). A study of cross-validation and bootstrap for accuracy estimation and model selection. IJCAI.

    Example:
        >>> found = folds_of(["a"] * 4 + ["b"] * 2, 2)
        >>> sorted(found[:4]), sorted(found[4:])
        ([0, 0, 1, 1], [0, 1])
    """
    if groups is not None:
        return _whole_groups(groups, folds)
    found = [0] * len(labels)
    for place, i in enumerate(_ordered(labels, stratified)):
        found[i] = place % folds
    return found


def drawn(
    labels: Sequence[Hashable], share: float, *, stratified: bool = True, groups: Sequence[Hashable] | None = None
) -> list[int]:
    """The numbers of examples that are held out, in their order: about this share, at least one.

    Args:
        labels: of each example.
        share: between 0 and 1.
        stratified: whether they have their share of every label.
        groups: of each example; groups are held out whole, as many as come nearest to the share, at least one.

    Raises:
        DataError: all examples are in one group.

    Example:
        >>> found = drawn(["a"] * 8 + ["b"] * 4, 0.25)
        >>> len(found), sum(i >= 8 for i in found)
        (3, 1)
    """
    if groups is not None:
        return _drawn_groups(groups, share)
    order, count = _ordered(labels, stratified), max(1, round(share * len(labels)))
    # Evenly spread over the order, in which each label stands together.
    return sorted(order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count))


def _whole_groups(groups: Sequence[Hashable], folds: int) -> list[int]:
    """The largest group first, each into the fold that has the fewest examples so far."""
    sizes = _sizes(groups, folds, f"{folds} folds")
    filled, fold_of = [0] * folds, dict[Hashable, int]()
    for group, size in sorted(sizes.items(), key=lambda entry: -entry[1]):
        fold_of[group] = min(range(folds), key=filled.__getitem__)
        filled[fold_of[group]] += size
    return [fold_of[group] for group in groups]


def _drawn_groups(groups: Sequence[Hashable], share: float) -> list[int]:
    sizes = _sizes(groups, 2, "a part to learn from and one to validate on")
    names = list(sizes)
    chosen, count, wanted = set[Hashable](), 0, share * len(groups)
    for group in Random("parts").sample(names, len(names)):
        # One that is too large is passed by.
        if abs(count + sizes[group] - wanted) < abs(count - wanted) and len(chosen) + 1 < len(names):
            chosen.add(group)
            count += sizes[group]
    chosen = chosen or {min(names, key=lambda group: sizes[group])}
    return [i for i, group in enumerate(groups) if group in chosen]


def _sizes(groups: Sequence[Hashable], least: int, what: str) -> Counter[Hashable]:
    sizes = Counter(groups)
    if len(sizes) < least:
        raise DataError(f"there are {len(sizes)} groups, too few for {what}; take fewer, or leave --group out.")
    return sizes


def _ordered(labels: Sequence[Hashable], stratified: bool) -> list[int]:
    """All numbers in an order by chance; those of one label together, if parts are to be stratified."""
    order = Random("parts").sample(range(len(labels)), len(labels))
    if not stratified:
        return order
    first: dict[Hashable, int] = {}
    for label in labels:
        first.setdefault(label, len(first))
    return sorted(order, key=lambda i: first[labels[i]])

"""What stands in two parts of the data is known by heart, and no measure of what will be new."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Hashable, Iterable

from gateflow.errors import DataWarning

__all__ = ["tell_duplicates"]


def tell_duplicates(known: Collection[Hashable], others: Iterable[Hashable], what: str) -> int:
    """Say how many of the second part are in the first, the same in all.

    Args:
        known: a set of what is learnt from.
        others: what is judged on, one by one.
        what: what they are called, such as ``sentences to validate on``.

    Returns:
        How many there are.

    Warns:
        DataWarning: there are some.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     tell_duplicates({"a cat"}, ["a cat", "a dog"], "texts to validate on")
        1
        >>> str(told[0].message)[:51]
        '1 of the 2 texts to validate on are in the training'
    """
    found = [item in known for item in others]
    if count := sum(found):
        warnings.warn(
            f"{count:,} of the {len(found):,} {what} are in the training part too; the figures are "
            "better than those on new ones will be.",
            DataWarning,
            stacklevel=3,
        )
    return count

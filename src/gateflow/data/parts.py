"""How data are divided into a part to learn from and one to validate on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from gateflow.errors import DataError

__all__ = ["Parts", "divided"]

T = TypeVar("T")


class Parts(NamedTuple, Generic[T]):
    """What is learnt from, what is held out, and how many groups there are in all and among what is held out."""

    train: list[T]
    valid: list[T]
    groups: int = 0
    held_out: int = 0


def divided(
    items: Sequence[T], share: float, groups: Sequence[Hashable] | None = None, *, source: str, item: str
) -> Parts[T]:
    """The items to learn from, and those held out: the last ones, or the last groups, whole.

    Neighbours in a file belong together more often than not, so the end of it is new text more than a drawn part would
    be. Where a group is known for each item, no group is on both sides: groups are held out from the end of the file
    on, one after the other, if they bring what is held out nearer to its share; one at least.

    Args:
        items: in the order of their file.
        share: of the items, that which is held out, from 0 to 1.
        groups: of each item, its document or author say. Equal ones need not be neighbours.
        source, item: what the data, and one of them, are called in messages.

    Raises:
        DataError: there is one item, or one group.

    Example:
        >>> divided("abcdefgh", 0.25, source="file", item="letter")[:2]
        (['a', 'b', 'c', 'd', 'e', 'f'], ['g', 'h'])
        >>> divided("abcdefgh", 0.25, [1, 1, 2, 2, 2, 3, 3, 2], source="file", item="letter")
        Parts(train=['a', 'b', 'c', 'd', 'e', 'h'], valid=['f', 'g'], groups=3, held_out=1)
    """
    if len(items) < 2:
        raise DataError(f"{source} has one {item}, so none can be held out; give a second file with --valid.")
    if groups is None:
        count = max(1, round(share * len(items)))
        return Parts(list(items[:-count]), list(items[-count:]))
    sizes = Counter(groups)
    if len(sizes) < 2:
        raise DataError(
            f"{source} has one group, so none can be held out; leave --group out, or give a second file with --valid."
        )
    chosen = _held_out(dict.fromkeys(reversed(groups)), sizes, share * len(items))
    of_group = list(zip(items, groups, strict=True))
    return Parts(
        [item for item, group in of_group if group not in chosen],
        [item for item, group in of_group if group in chosen],
        len(sizes),
        len(chosen),
    )


def _held_out(from_the_end: Iterable[Hashable], sizes: Counter[Hashable], wanted: float) -> set[Hashable]:
    """Groups with about so many items."""
    chosen, count, whole = set[Hashable](), 0, sum(sizes.values())
    for group in from_the_end:
        more = count + sizes[group]
        # A group that is too large is passed by: it may be most of the file. Something has to be left to learn from.
        if abs(more - wanted) < abs(count - wanted) and more < whole:
            chosen.add(group)
            count = more
    return chosen or {min(sizes, key=lambda group: sizes[group])}

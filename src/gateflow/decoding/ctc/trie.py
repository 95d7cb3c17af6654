"""Prefixes as nodes of a tree: equal prefixes are one node, however often a search drops one and finds it again."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["EMPTY", "Trie"]

# A place of a beam that holds no prefix, and what stands there for its parent; they must differ, and be no node.
EMPTY, NO_PARENT = -1, -2


class Trie:
    """The prefixes of many lines: node `n` is the empty prefix of line `n`.

    Example:
        >>> trie = Trie(lines=2, symbols=5)
        >>> trie.extended([1, 1, 0], [3, 4, 3]), trie.extended([2], [2]), trie.extended([1], [3])
        ([2, 3, 4], [5], [2])
        >>> trie.spelled(5)
        [3, 2]
    """

    def __init__(self, lines: int, symbols: int):
        self.lines, self._symbols = lines, symbols
        self._parents, self._last = [NO_PARENT] * lines, [-1] * lines
        self._known = dict[int, int]()

    def extended(self, nodes: Iterable[int], symbols: Iterable[int]) -> list[int]:
        """The nodes of prefixes with one symbol more."""
        return [self._extended(node, symbol) for node, symbol in zip(nodes, symbols, strict=True)]

    def _extended(self, node: int, symbol: int) -> int:
        found = self._known.setdefault(node * self._symbols + symbol, len(self._parents))
        if found == len(self._parents):
            self._parents.append(node)
            self._last.append(symbol)
        return found

    def spelled(self, node: int) -> list[int]:
        """The symbols of a prefix."""
        symbols = []
        while node >= self.lines:
            symbols.append(self._last[node])
            node = self._parents[node]
        return symbols[::-1]

"""The values of one time step: every node is a row of one sample.

A row has `H` numbers, `P` for a projected output, `I` for the input, or as many as its width says: `"1"` for one
number, `"3"` for a slice of three. `h + self.peephole * c` becomes

    Node("add", (Node("state", name="h"), Node("mul", (Node("parameter", name="peephole"), Node("state", name="c")))))

Nodes have the operators of Python, so that the derivatives in `operations.py` read like the mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "DROP",
    "HOLD",
    "LEAVES",
    "REDUCTIONS",
    "SCALARS",
    "Node",
    "Sizes",
    "Weight",
    "WidthError",
    "concatenation",
    "constant",
    "epsilon",
    "in_order",
    "index",
    "is_of_input",
    "number",
    "pointwise",
    "product",
    "reduction",
    "row_mean",
    "row_sum",
    "size",
    "slice_of",
]

# A weight of a user may have such a name too: the rows of weights are called `weights.NAME` (`test_any_name_will_do`).
HOLD, DROP = "hold_{}", "drop_{}"
"""Inputs besides `x`: how much zoneout keeps of a state, and what a dropout within a step multiplies by."""
LEAVES = frozenset({"constant", "number", "parameter", "input", "state", "gradient", "size", "index", "epsilon"})
SCALARS = frozenset({"constant", "number", "size", "epsilon"})
"""What is the same in every row and unit: written into a kernel, or given to each of its runs."""
REDUCTIONS = frozenset({"row_sum", "row_max", "row_min"})
"""What makes one number of a whole row."""


class Sizes(dict[str, int]):
    """How many numbers rows of each width have; a width in digits is its own size."""

    def __missing__(self, width: str) -> int:
        return int(width)


class WidthError(ValueError):
    """Rows of different sizes met unit by unit."""


@dataclass(frozen=True)
class Weight:
    """A block of rows of a weight matrix, and of its bias: gate `k` owns rows `[k·H, (k+1)·H)` of `weight_hh`."""

    name: str
    block: int = 0
    rows: str = "H"
    columns: str = "H"
    bias: str | None = None
    transposed: bool = False

    def __str__(self) -> str:
        return f"{self.name}[{self.block}]" + (".T" if self.transposed else "")


# By identity: equality by value would walk through all that two nodes share, once for each path to it.
@dataclass(frozen=True, eq=False)
class Node:
    """One value of a time step. Two nodes are the same only if they are one object."""

    op: str
    args: tuple[Node, ...] = ()
    width: str = "H"
    name: str = ""
    values: tuple[float, ...] = ()
    weights: tuple[Weight, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}{self.width}>"

    def __add__(self, other: Node | float) -> Node:
        return pointwise("add", self, other)

    def __sub__(self, other: Node | float) -> Node:
        return pointwise("sub", self, other)

    def __rsub__(self, other: float) -> Node:
        return pointwise("sub", other, self)

    def __mul__(self, other: Node | float) -> Node:
        return pointwise("mul", self, other)

    def __truediv__(self, other: Node | float) -> Node:
        return pointwise("div", self, other)

    def __neg__(self) -> Node:
        return pointwise("neg", self)


def constant(value: float) -> Node:
    """A number, the same in every row and unit.

    Raises:
        TypeError: it is none.
    """
    # `float` alone would also read text: an attribute "0.3" must fail as it does in torch (`test_text_is_no_number`).
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return Node("constant", width="1", values=(float(value),))


def number(k: int) -> Node:
    """A number that each run is given, the one of place `k`."""
    return Node("number", width="1", name=f"number_{k}")


def pointwise(op: str, *args: Node | float, values: tuple[float, ...] = ()) -> Node:
    """`op` unit by unit; numbers and rows of width 1 are repeated.

    Raises:
        WidthError: other rows have different widths.
    """
    nodes = tuple(a if isinstance(a, Node) else constant(a) for a in args)
    wide = dict.fromkeys(a.width for a in nodes if a.width != "1")
    if len(wide) > 1:
        raise WidthError(f"`{op}` of rows of widths {', '.join(wide)}")
    return Node(op, nodes, next(iter(wide), "1"), values=values)


def product(operand: Node, weight: Weight) -> Node:
    """`W s + b`."""
    return Node("product", (operand,), weight.columns if weight.transposed else weight.rows, weights=(weight,))


def reduction(op: str, row: Node) -> Node:
    """One of `REDUCTIONS`; of a row of one number the number itself."""
    return row if row.width == "1" else Node(op, (row,), "1")


def row_sum(row: Node) -> Node:
    """The sum over the units of a row."""
    return reduction("row_sum", row)


def row_mean(row: Node) -> Node:
    """The mean over the units of a row."""
    return row_sum(row) / size(row.width)


def size(width: str) -> Node | float:
    """How many numbers a row of this width has: a run says so, unless the width does."""
    return float(width) if width.isdecimal() else Node("size", width="1", name=width)


def index(width: str) -> Node:
    """The row 0, 1, 2, …"""
    return Node("index", width=width, name=f"index_{width}")


def epsilon() -> Node:
    """The distance from 1 to the next number of the precision that a kernel computes in."""
    return Node("epsilon", width="1", name="epsilon")


def slice_of(row: Node, begin: int, length: int, total: int, width: str) -> Node:
    """Numbers `begin` to `begin + length` of a row that has `total`."""
    # A row of one number for all of its units is the same in every part of it.
    return row if row.width == "1" else Node("slice", (row,), width, values=(begin, length, total))


def concatenation(parts: Sequence[Node], lengths: Sequence[int], width: str) -> Node:
    """Rows of these lengths side by side as one row."""
    return parts[0] if len(parts) == 1 else Node("cat", tuple(parts), width, values=tuple(lengths))


def is_of_input(row: Node) -> bool:
    """Whether a row is the input or a slice of it, which wait for no step."""
    return row.op == "input" or (row.op == "slice" and row.args[0].op == "input")


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """All nodes that the outputs depend on, each after its arguments."""
    seen: dict[Node, None] = {}
    for output in outputs:
        waiting = [output]
        while waiting:  # a chain may be longer than Python's stack is deep
            missing = [a for a in waiting[-1].args if a not in seen]
            if missing:
                waiting += reversed(missing)
            else:
                seen.setdefault(waiting.pop())
    return list(seen)

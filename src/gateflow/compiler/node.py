"""The values of one time step: every node is a row of one sample.

A row has `H` numbers, `P` for a projected output, `I` for the input, or one, width `1`. `h + self.peephole * c` becomes

    Node("add", (Node("state", name="h"), Node("mul", (Node("parameter", name="peephole"), Node("state", name="c")))))

Nodes have the operators of Python, so that the derivatives in `operations.py` read like the mathematics.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["LEAVES", "SCALARS", "Node", "Weight", "constant", "in_order", "number", "pointwise", "product", "row_mean"]

LEAVES = frozenset({"constant", "number", "parameter", "input", "state", "gradient"})
SCALARS = frozenset({"constant", "number"})
"""What is the same in every row and unit: written into a kernel, or given to each of its runs."""


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
    """`op` unit by unit; numbers and rows of width 1 are repeated."""
    nodes = tuple(a if isinstance(a, Node) else constant(a) for a in args)
    wide = [a.width for a in nodes if a.width != "1"]
    return Node(op, nodes, "H" if "H" in wide else (wide or ["1"])[0], values=values)


def product(operand: Node, weight: Weight) -> Node:
    """`W s + b`."""
    return Node("product", (operand,), weight.columns if weight.transposed else weight.rows, weights=(weight,))


def row_mean(row: Node) -> Node:
    """The mean over the units of a row."""
    return Node("row_mean", (row,), "1")


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

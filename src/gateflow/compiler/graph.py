"""The equations of one time step as a small immutable graph of rows.

Every node is a row of one sample: `H` numbers, `P` for a projected output, `I` for the input, or one number, width `1`.
`h + self.peephole * c` becomes

    Node("add", (Node("state", name="h"), Node("mul", (Node("parameter", name="peephole"), Node("state", name="c")))))

Nodes have the operators of Python, so that the rules of `differentiate` read like the mathematics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "LEAVES",
    "POINTWISE",
    "SCALARS",
    "Graph",
    "Node",
    "Weight",
    "constant",
    "in_order",
    "number",
    "pointwise",
    "product",
    "row_mean",
]

LEAVES = frozenset({"constant", "number", "parameter", "input", "state", "gradient"})
SCALARS = frozenset({"constant", "number"})
"""What is the same in every row and unit: written into a kernel, or given to each of its runs."""
POINTWISE = frozenset(
    "add sub mul div neg sigmoid tanh relu exp log softplus sqrt rsqrt abs minimum maximum clamp where "
    "lt le gt ge eq ne".split()
)


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return Node("constant", width="1", values=(float(value),))


def number(k: int) -> Node:
    """A number that each run is given anew, the one of place `k`."""
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


@dataclass(frozen=True)
class Graph:
    """What a step computes: the new value of each state from its old values and the input."""

    cell: str
    states: tuple[Node, ...]
    new_states: tuple[Node, ...]

    @property
    def nodes(self) -> list[Node]:
        """All nodes, each after its arguments."""
        return in_order((*self.states, *self.new_states))

    def __str__(self) -> str:
        head = f"def step(x, {', '.join(s.name for s in self.states)}):  # {self.cell}"
        return "\n".join([head, *listing(self.new_states, "return")])


def listing(outputs: Sequence[Node], verb: str) -> list[str]:
    """The nodes as lines of Python, ending in `verb` and the outputs."""
    names = names_of(in_order(outputs))
    lines = [f"    {names[n]} = {_expression(n, names)}" for n in in_order(outputs) if n.op not in LEAVES]
    return [*lines, f"    {verb} {', '.join(names[n] for n in outputs)}"]


def names_of(nodes: Iterable[Node]) -> dict[Node, str]:
    """A readable name for each node, the same for the same graph."""
    names: dict[Node, str] = {}
    for k, node in enumerate(nodes):
        if node.op == "constant":
            names[node] = repr(node.values[0])
        elif node.op == "gradient":
            names[node] = f"d_{node.name}"
        else:
            names[node] = node.name if node.op in LEAVES else f"{node.op}_{k}"
    return names


_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_SIGNS |= {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def _expression(node: Node, names: dict[Node, str]) -> str:
    args = [names[a] for a in node.args]
    if node.op in _SIGNS:
        return f"{args[0]} {_SIGNS[node.op]} {args[1]}"
    if node.weights:
        return " + ".join(_affine(w, a) for w, a in zip(node.weights, args, strict=True))
    return f"{node.op}({', '.join([*args, *map(repr, node.values)])})"


def _affine(weight: Weight, operand: str) -> str:
    return f"{weight} @ {operand}" + (f" + {weight.bias}[{weight.block}]" if weight.bias else "")


def simplified(outputs: Sequence[Node]) -> list[Node]:
    """The same values with equal nodes made one, numbers computed, and additions of 0 and factors of 1 left out."""
    made: dict[tuple[object, ...], Node] = {}
    new: dict[Node, Node] = {}
    for node in in_order(outputs):
        args = tuple(new[a] for a in node.args)
        short = _shortened(node, args) or (node if args == node.args else replace(node, args=args))
        key = (short.op, *map(id, short.args), short.width, short.name, short.values, short.weights)
        new[node] = made.setdefault(key, short)
    return [new[node] for node in outputs]


_NUMBERS: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


def with_sums_joined(outputs: Sequence[Node], kept: Collection[Node]) -> list[Node]:
    """The same values with the products within a sum made one product of several operands.

    `a + W_i.T @ d_i + b + W_f.T @ d_f` becomes `a + b + (W_i.T @ d_i + W_f.T @ d_f)`, which runs as one matrix product
    over the rows `d_i, d_f` side by side. Nodes in `kept` stay as they are.
    """
    uses = Counter(a for n in in_order(outputs) for a in n.args) + Counter(outputs)
    new: dict[Node, Node] = {}

    def terms(node: Node, root: bool = False) -> list[Node]:
        if node.op == "add" and node not in kept and (root or uses[node] == 1):
            return [term for argument in node.args for term in terms(argument)]
        return [node]

    def joined(node: Node) -> Node:
        if node in kept:
            return node
        parts = terms(node, root=True)
        products = [p for p in parts if p.op == "product" and uses[p] == 1 and p not in kept]
        if node.op != "add" or len(products) < 2:
            args = tuple(new[a] for a in node.args)
            return node if args == node.args else replace(node, args=args)
        operands = tuple(new[a] for p in products for a in p.args)
        total = replace(products[0], args=operands, weights=tuple(w for p in products for w in p.weights))
        for part in reversed([p for p in parts if p not in products]):
            total = new[part] + total
        return total

    for node in in_order(outputs):
        new[node] = joined(node)
    return [new[node] for node in outputs]


def _shortened(node: Node, args: tuple[Node, ...]) -> Node | None:
    """What a node comes to if it can be told without computing it."""
    numbers = [a.values[0] if a.op == "constant" else None for a in args]
    if node.op in _NUMBERS and None not in numbers:
        return constant(_NUMBERS[node.op](*numbers))  # pyright: ignore[reportArgumentType]
    match node.op, numbers:
        case ("add", [0.0, _]) | ("mul", [1.0, _]) if args[1].width == node.width:
            return args[1]
        case ("add" | "sub", [_, 0.0]) | ("mul" | "div", [_, 1.0]) if args[0].width == node.width:
            return args[0]
        case _:
            return None

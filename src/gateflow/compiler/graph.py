"""The equations of one time step as a small immutable graph of rows, and the ways in which it is made shorter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from gateflow.compiler.node import LEAVES, Node, Weight, constant, in_order, pointwise, size
from gateflow.compiler.operations import OPERATIONS

__all__ = ["Graph", "listing", "names_of", "simplified", "with_sums_joined"]


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
    # By place: the names stand in the text of a kernel, which is its key, so equal graphs must give equal names.
    for k, node in enumerate(nodes):
        if node.op == "constant":
            names[node] = repr(node.values[0])
        elif node.op == "gradient":
            names[node] = f"d_{node.name}"
        else:
            names[node] = node.name if node.op in LEAVES else f"{node.op}_{k}"
    return names


def _expression(node: Node, names: dict[Node, str]) -> str:
    args = [names[a] for a in node.args]
    if node.op in OPERATIONS and OPERATIONS[node.op].infix:
        return f"{args[0]} {OPERATIONS[node.op].infix} {args[1]}"
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
        # Arguments by identity: they come first, so equal ones are one object already.
        key = (short.op, *map(id, short.args), short.width, short.name, short.values, short.weights)
        new[node] = made.setdefault(key, short)
    return [new[node] for node in outputs]


def with_sums_joined(outputs: Sequence[Node], kept: Collection[Node]) -> list[Node]:
    """The same values with the products within a sum made one product of several operands.

    `a + W_i.T @ d_i + b + W_f.T @ d_f` becomes `a + b + (W_i.T @ d_i + W_f.T @ d_f)`, which runs as one matrix product
    over the rows `d_i, d_f` side by side. Nodes in `kept` stay as they are.
    """
    # An output counts as a use: it is stored, so it cannot dissolve in a sum.
    uses = Counter(a for n in in_order(outputs) for a in n.args) + Counter(outputs)
    new: dict[Node, Node] = {}

    def terms(node: Node, root: bool = False) -> list[Node]:
        # A sum that is used elsewhere must exist by itself.
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
    operation = OPERATIONS.get(node.op)
    if operation is None:
        return _shortened_row(node, args)
    numbers = [a.values[0] if a.op == "constant" else None for a in args]
    if operation.fold is not None and None not in numbers:
        return constant(operation.fold(*numbers))
    for number, neutral, other in zip(numbers, operation.neutral, reversed(args), strict=False):
        # What stays must be as wide as the node: a number per row plus a row of zeros is a row.
        if number is not None and number == neutral and other.width == node.width:
            return other
    return None


def _shortened_row(node: Node, args: tuple[Node, ...]) -> Node | None:
    """The same for what reads whole rows."""
    (row, *_) = args or (node,)
    if node.op == "row_sum" and row.op == "constant":
        return pointwise("mul", row.values[0], size(row.width)) if row.values[0] else constant(0.0)
    if node.op != "slice":
        return None
    begin, length, _ = map(int, node.values)
    if row.op == "constant":
        return replace(row, width=node.width)
    if row.op == "slice":
        return replace(row, width=node.width, values=(int(row.values[0]) + begin, length, row.values[2]))
    if row.op == "cat":
        offset = 0
        for part, size_of_part in zip(row.args, row.values, strict=True):
            if (offset, size_of_part) == (begin, length):
                return part
            offset += int(size_of_part)
    return None

"""The graph of one step backward: the derivative of each operation, applied from the new states to the old.

Weight gradients leave the loop over time: for each product the gradient of its result (its delta) is kept, and one
large matrix product per weight, delta.T @ operand, follows.

A row of width 1 (a total, a number per row) is spread over the units of the rows that it meets, so its gradient is the
sum over them. What slices of a row leave is put together when all of them are known: `d_x = cat(d_slice, 0)`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from gateflow.compiler.graph import Graph, listing, simplified
from gateflow.compiler.node import (
    SCALARS,
    Node,
    Weight,
    concatenation,
    in_order,
    is_of_input,
    product,
    row_sum,
    size,
    slice_of,
)
from gateflow.compiler.operations import OPERATIONS, TOTALS

__all__ = ["Backward", "Delta", "differentiate"]


@dataclass(frozen=True)
class Delta:
    """The gradient of one product's result. `weight` gets `delta.T @ operand`, its bias the sum of delta."""

    weight: Weight
    operand: Node
    row: Node


@dataclass(frozen=True)
class Backward:
    """What one step backward computes from the gradients of the new states."""

    forward: Graph
    states: tuple[Node, ...]
    deltas: tuple[Delta, ...]
    parameters: tuple[tuple[str, Node], ...]
    x: Node | None

    @property
    def outputs(self) -> list[Node]:
        """Every row that the step backward produces."""
        rows = [*self.states, *(d.row for d in self.deltas), *(node for _, node in self.parameters)]
        return rows + ([self.x] if self.x is not None else [])

    def __str__(self) -> str:
        inputs = ", ".join(f"d_{s.name}" for s in self.forward.states)
        return "\n".join([f"def backward({inputs}):  # {self.forward.cell}", *listing(self.outputs, "return")])


def differentiate(graph: Graph) -> Backward:
    """The step backward of a step.

    Example:
        >>> from gateflow.cells import Elman
        >>> from gateflow.compiler.capture import capture
        >>> backward = differentiate(capture(Elman(3, 4)))
        >>> [str(delta.weight) for delta in backward.deltas]
        ['weight_hh[0]', 'weight_ih[0]']
    """
    gradients = _gradients(graph)
    products = [n for n in graph.nodes if n.op == "product" and n in gradients]
    parameters = [n for n in graph.nodes if n.op == "parameter" and n in gradients]
    x = next((n for n in graph.nodes if n.op == "input" and n.name == "x"), None)
    roots = [gradients.get(s, _zero(s)) for s in graph.states]
    # As rows, which loops over units sum up.
    roots += [gradients[n] for n in products] + [gradients[n] + _zero(n) for n in parameters]
    roots += [gradients[x]] if x is not None and x in gradients else []
    operands = [n.args[0] for n in products]
    # All in one go: what forward and backward share must be one node, by which `storage.py` and plans find it.
    rows = simplified([*graph.new_states, *operands, *roots])
    n, k, new = len(products), len(graph.states), rows[: len(graph.states)]
    operands, rows = rows[k : k + n], iter(rows[k + n :])
    carried = tuple(next(rows) for _ in graph.states)
    deltas = [Delta(p.weights[0], operand, next(rows)) for p, operand in zip(products, operands, strict=True)]
    return Backward(
        replace(graph, new_states=tuple(new)),
        carried,
        tuple(sorted(deltas, key=_place)),
        tuple((n.name, next(rows)) for n in parameters),
        next(rows, None),
    )


def _place(delta: Delta) -> tuple[object, ...]:
    """Weights of the state before those of the input, blocks in order: gates lie side by side as their weights do."""
    # So adjacent gates become one large product: `WeightProduct.goes_on_with`.
    return delta.weight.name == "weight_ih", delta.weight.name, delta.weight.block


def _gradients(graph: Graph) -> dict[Node, Node]:
    """The gradient of every node that the new states depend on smoothly."""
    gradients: dict[Node, Node] = {}
    for state, new in zip(graph.states, graph.new_states, strict=True):
        _add(gradients, new, _of_new(new, state, state.name))
    # A user's state may be called `output`; random cells found that it got the gradient of the output.
    name = "output" if all(s.name != "output" for s in graph.states) else "the_output"
    # The first state is also the output: it has a gradient from the next step and one from the layer above.
    _add(gradients, graph.new_states[0], _of_new(graph.new_states[0], graph.states[0], name))
    sliced: dict[Node, list[tuple[Node, Node]]] = {}
    for node in reversed(in_order(graph.new_states)):
        # All slices of a row come before it in this order.
        if node in sliced:
            _add(gradients, node, _put_together(node, sliced[node]))
        # Only a total of this product matters: its gradient, one number, must be a row for the products that follow
        # it. It was never computed before that (random cell 1063).
        if node in gradients and node.op in ("product", "cat") and gradients[node].width == "1":
            gradients[node] = gradients[node] + _zero(node)  # a row, for the products with it
        if node in gradients and node.op == "slice":
            sliced.setdefault(node.args[0], []).append((node, gradients[node]))
        elif node in gradients and node.args:
            parts = _through(node, gradients[node])
            for argument, part in zip(node.args, parts, strict=True):
                if part is not None and argument.op not in SCALARS and argument.op != "index":
                    _add(gradients, argument, _summed(argument, part, node))
    return gradients


def _of_new(new: Node, state: Node, name: str) -> Node:
    """The gradient of a new state that comes from later steps or from the output."""
    gradient = Node("gradient", width=state.width, name=name)
    return row_sum(gradient) if new.width == "1" != state.width else gradient


def _through(node: Node, g: Node) -> Sequence[Node | None]:
    """Gradients of a node's arguments from its own."""
    if node.op == "product":
        # The gradient of the input waits for no step: large products after the loop give it
        # (`WeightProducts.of_input`).
        return (
            None if is_of_input(node.args[0]) else product(g, replace(node.weights[0], transposed=True, bias=None)),
        )
    if node.op == "cat":
        lengths = [int(n) for n in node.values]
        begins = [sum(lengths[:k]) for k in range(len(lengths))]
        parts = zip(node.args, begins, lengths, strict=True)
        return [slice_of(g, begin, n, sum(lengths), part.width) for part, begin, n in parts]
    return (OPERATIONS.get(node.op) or TOTALS[node.op]).derivative(g, node, *node.args)


def _summed(argument: Node, part: Node, node: Node) -> Node:
    """The gradient of an argument: of a number that a node has spread over its units, the sum over them."""
    if argument.width != "1" or node.op == "cat":
        return part
    if part.width != "1":
        return row_sum(part)
    # The same for all units, so one number.
    return part if node.width == "1" else part * size(node.width)


def _put_together(row: Node, slices: Sequence[tuple[Node, Node]]) -> Node:
    """The gradient of a row from those of its slices, each as long as it is; 0 where there is none."""
    pieces = [_Piece(slice, g) for slice, g in slices]
    # Rows of one size have one width, or they could not be added.
    widths = {1: "1", **{piece.length: piece.slice.width for piece in pieces}}
    cuts = sorted({0, int(slices[0][0].values[2]), *(cut for p in pieces for cut in (p.begin, p.end))})
    parts, lengths = list[Node](), [end - begin for begin, end in pairwise(cuts)]
    for begin, length in zip(cuts, lengths, strict=False):
        width = widths.get(length, str(length))
        found = [piece.part(begin, length, width) for piece in pieces if piece.begin <= begin < piece.end]
        # The zeros make a row of a gradient that is one number for all units.
        parts.append(functools.reduce(Node.__add__, found, Node("constant", width=width, values=(0.0,))))
    return concatenation(parts, lengths, row.width)


class _Piece(NamedTuple):
    """A slice of a row, and its gradient."""

    slice: Node
    gradient: Node

    @property
    def begin(self) -> int:
        return int(self.slice.values[0])

    @property
    def length(self) -> int:
        return int(self.slice.values[1])

    @property
    def end(self) -> int:
        return self.begin + self.length

    def part(self, begin: int, length: int, width: str) -> Node:
        """The gradient of some of its numbers."""
        whole = length == self.length
        return self.gradient if whole else slice_of(self.gradient, begin - self.begin, length, self.length, width)


def _add(gradients: dict[Node, Node], node: Node, part: Node) -> None:
    gradients[node] = gradients[node] + part if node in gradients else part


def _zero(node: Node) -> Node:
    """A row of zeros as wide as `node`: the gradient of what the new states do not depend on."""
    return Node("constant", width=node.width, values=(0.0,))

"""Which values of a step lie in memory apart from its states: what loops leave for each other and for products.

    hoisted   products of the input, computed ahead of the steps
    saved     what training keeps for the backward loop
    delta     gradients of the results of products
    operand   what products were applied to: with their deltas it gives, after the loop, the gradients of the weights

What training keeps is the least that lets the rest be computed again unit by unit: the states lie in memory anyway; a
value that depends on a product or a mean of this step is kept; all else is recomputed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateflow.compiler.differentiate import Backward, Delta, differentiate
from gateflow.compiler.graph import Graph
from gateflow.compiler.node import LEAVES, REDUCTIONS, Node, in_order, is_of_input
from gateflow.compiler.once import once
from gateflow.compiler.plan import Kind, Row

__all__ = ["Storage"]


@dataclass(frozen=True, eq=False)
class Storage:
    """The rows of a step in memory, the same for every back end.

    Attributes:
        graph: the step.
    """

    graph: Graph

    @once
    def backward_graph(self) -> Backward:
        """The step backward."""
        return differentiate(self.graph)

    @once
    def numbers(self) -> int:
        """How many numbers each run is given."""
        # The highest place counts, not how many there are: a number that no output needs keeps its place.
        return max((1 + _place_of(n) for n in self.graph.nodes if n.op == "number"), default=0)

    @once
    def measured(self) -> tuple[str, ...]:
        """The widths of rows whose size is a number in the equations, such as that of a mean."""
        nodes = in_order([*self.graph.new_states, *self.backward_graph.outputs])
        return tuple(sorted({n.name for n in nodes if n.op == "size"}))

    @once
    def hoisted(self) -> dict[Node, Row]:
        """Products of the input itself, which wait for no step: computed for many steps at once."""
        products = (n for n in self.backward_graph.forward.nodes if n.op == "product" and is_of_input(n.args[0]))
        # Weights of the state may be applied to the input, too; random cells found them run with those of the input.
        own = (n for n in products if n.weights[0].name == "weight_ih")
        return _side_by_side("hoisted", sorted(own, key=lambda n: n.weights[0].block), kind=Kind.AHEAD)

    @once
    def saved(self) -> dict[Node, Row]:
        """Values of the step that training keeps for the backward loop."""
        forward = set(self.backward_graph.forward.nodes)
        operands = [d.operand for d in self.backward_graph.deltas]
        wanted = dict.fromkeys(a for n in in_order(self.backward_graph.outputs) if n not in forward for a in n.args)
        saved: dict[Node, None] = {}
        # States lie in the histories in any case, so they cost nothing more to keep.
        known = {*self.backward_graph.forward.states, *self.backward_graph.forward.new_states}
        for node in in_order([*(n for n in wanted if n in forward), *operands]):
            if (node in wanted or node in operands) and not _recomputable(node, known | set(saved)):
                saved[node] = None
        return _side_by_side("saved", saved)

    @once
    def deltas(self) -> dict[Node, Row]:
        """The gradients of products, side by side in the order of their weights."""
        # As wide as the weight has rows, even where the gradient is one number for a row.
        deltas = self.backward_graph.deltas
        return _side_by_side("delta", (d.row for d in deltas), [d.weight.rows for d in deltas])

    @once
    def operands(self) -> dict[Node, Row]:
        """What products were applied to, where it is neither the input nor an old state."""
        operands = [d.operand for d in self.backward_graph.deltas]
        lie = ("input", "state", "parameter")  # and not a row of ones
        return _side_by_side("operand", [o for o in operands if o.op not in lie and not is_of_input(o)])

    @once
    def leaves(self) -> dict[Node, Row]:
        """What lies in memory before the step: the input, the old states, vectors of weights and numbers."""
        forward = self.backward_graph.forward
        nodes = {*forward.nodes, *in_order(self.backward_graph.outputs)}
        inputs = {n: Row(n.name, Kind.STEP, n.width) for n in nodes if n.op == "input"}
        # The prefix: a vector may be called `saved` or `delta`, as tensors of ours are (`test_any_name_will_do`).
        vectors = {n: Row(f"weights.{n.name}", Kind.FIXED, n.width) for n in nodes if n.op == "parameter"}
        vectors |= {
            n: Row("sizes", Kind.FIXED, "1", ("1",) * self.measured.index(n.name)) for n in nodes if n.op == "size"
        }
        vectors |= {n: Row("numbers", Kind.FIXED, "1", ("1",) * _place_of(n)) for n in nodes if n.op == "number"}
        return inputs | vectors | self.states(Kind.PREVIOUS, forward.states)

    @once
    def gradients(self) -> dict[Node, Row]:
        """What the backward loop is given: gradients of the output and, carried from step to step, of the states."""
        gradients = {n for n in in_order(self.backward_graph.outputs) if n.op == "gradient"}
        # Not by the name "output", which a user's state may have.
        states = {s.name for s in self.graph.states}
        return {
            n: Row(f"carry.{n.name}", Kind.SAMPLE, n.width) if n.name in states else Row("d_output", Kind.STEP, n.width)
            for n in gradients
        }

    def states(self, kind: Kind, nodes: Iterable[Node]) -> dict[Node, Row]:
        """The rows of the states, for the nodes that are them."""
        rows = [Row(f"state.{s.name}", kind, s.width) for s in self.backward_graph.forward.states]
        # A new state that is one number for all units is read as one: rows that it meets may have other widths.
        return {n: row.part("1", 0) if n.width == "1" != row.width else row for row, n in zip(rows, nodes, strict=True)}

    def operand_row(self, delta: Delta) -> Row:
        """Where the operand of a product lies while the backward loop runs."""
        operand = delta.operand
        if operand.op == "slice" and operand not in self.operands:
            return self.leaves[operand.args[0]].part(operand.width, int(operand.values[0]))
        return self.operands.get(operand) or self.leaves[operand]

    def delta_row(self, delta: Delta) -> Row:
        """Where the gradient of a product lies."""
        return self.deltas[delta.row]


def _recomputable(node: Node, known: set[Node]) -> bool:
    """Whether a node can be computed unit by unit from what is known."""
    able: dict[Node, bool] = {}
    for each in in_order([node]):  # each once, however often it is used
        if each.op == "slice":  # of a row that lies in memory, else that row would have to be computed as a whole
            made = each.args[0] in known or each.args[0].op in LEAVES
        else:
            made = each.op not in ("product", "cat", *REDUCTIONS) and all(able[a] for a in each.args)
        able[each] = each in known or each.op in LEAVES or made
    return able[node]


def _place_of(number: Node) -> int:
    return int(number.name.removeprefix("number_"))


def _side_by_side(
    tensor: str, nodes: Iterable[Node], widths: list[str] | None = None, kind: Kind = Kind.STEP
) -> dict[Node, Row]:
    rows, before = dict[Node, Row](), ()
    for k, node in enumerate(nodes):
        if node not in rows:
            rows[node] = Row(tensor, kind, widths[k] if widths else node.width, before)
            before = (*before, rows[node].width)
    return rows

"""The loops over time that a cell needs, each planned: inference, training, the way back, one streaming step.

What training keeps for the way back is the least that lets it be computed again unit by unit: the states lie in memory
anyway; a value that depends on a product or a mean of this step is kept; the rest is recomputed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from gateflow.compiler.differentiate import Backward, Delta, differentiate
from gateflow.compiler.graph import LEAVES, Graph, Node, Weight, in_order, with_sums_joined
from gateflow.compiler.plan import Kind, Plan, Row, plan

__all__ = ["Programs"]


@dataclass(frozen=True)
class Programs:
    """The plans of a graph."""

    graph: Graph

    @cached_property
    def backward_graph(self) -> Backward:
        """The step backwards."""
        return differentiate(self.graph)

    @cached_property
    def numbers(self) -> int:
        """How many numbers each run is given."""
        return max((1 + _place_of(n) for n in self.graph.nodes if n.op == "number"), default=0)

    @cached_property
    def hoisted(self) -> tuple[Node, ...]:
        """Products of the input itself: one large product before the loop over time."""
        products = (n for n in self.backward_graph.forward.nodes if n.op == "product" and n.args[0].op == "input")
        own = (n for n in products if n.weights[0].name == "weight_ih")
        return tuple(sorted(own, key=lambda n: n.weights[0].block))

    @cached_property
    def saved(self) -> tuple[Node, ...]:
        """Values of the step that training keeps for the way back."""
        forward = set(self.backward_graph.forward.nodes)
        operands = [d.operand for d in self.backward_graph.deltas]
        wanted = dict.fromkeys(a for n in in_order(self.backward_graph.outputs) if n not in forward for a in n.args)
        saved: dict[Node, None] = {}
        known = {*self.backward_graph.forward.states, *self.backward_graph.forward.new_states}
        for node in in_order([*(n for n in wanted if n in forward), *operands]):
            if (node in wanted or node in operands) and not self._recomputable(node, known | set(saved)):
                saved[node] = None
        return tuple(saved)

    def _recomputable(self, node: Node, known: set[Node]) -> bool:
        able: dict[Node, bool] = {}
        for each in in_order([node]):  # each once, however often it is used
            made = each.op not in ("product", "row_mean") and all(able[a] for a in each.args)
            able[each] = each in known or each.op in LEAVES or made
        return able[node]

    @cached_property
    def infer(self) -> Plan:
        """Forward; keeps the states alone."""
        return self._with_input_ahead(self._new_states())

    @cached_property
    def train(self) -> Plan:
        """Forward; keeps what the way back needs."""
        return self._with_input_ahead([*self._new_states(), *self._saved().items()])

    @cached_property
    def recompute(self) -> Plan:
        """Forward over known states; computes again what `train` keeps."""
        return self._with_input_ahead(list(self._saved().items()))

    @cached_property
    def stream(self) -> Plan:
        """One step; the products of the input are computed in it, in one sum with those of the state."""
        rows = [row for _, row in self._new_states()]
        nodes = with_sums_joined([node for node, _ in self._new_states()], self._leaves)
        return plan(list(zip(nodes, rows, strict=True)), self._leaves)

    @cached_property
    def backward(self) -> Plan:
        """From the last step to the first."""
        back = self.backward_graph
        carried = [
            (n, Row(f"carry.{s.name}", Kind.SAMPLE, s.width))
            for s, n in zip(self.graph.states, back.states, strict=True)
        ]
        x = [(back.x, Row("d_x", Kind.STEP, back.x.width))] if back.x is not None else []
        kept = [*self.deltas.items(), *self.operands.items()]
        known = self._leaves | self._saved() | self._gradients() | self._states(Kind.STEP, back.forward.new_states)
        gathers = [node for _, node in back.parameters]
        nodes = with_sums_joined([*(n for n, _ in [*carried, *x, *kept]), *gathers], known)
        outputs = [(n, r) for n, (_, r) in zip(nodes, [*carried, *x, *kept], strict=False)]
        names = [name for name, _ in back.parameters]
        return plan(outputs, known, list(zip(names, nodes[len(outputs) :], strict=True)))

    @cached_property
    def deltas(self) -> dict[Node, Row]:
        """The gradients of products, side by side in the order of their weights."""
        return _side_by_side(
            "delta", (d.row for d in self.backward_graph.deltas), [d.weight.rows for d in self.backward_graph.deltas]
        )

    @cached_property
    def operands(self) -> dict[Node, Row]:
        """What products were applied to, where it is neither the input nor an old state."""
        inner = [d.operand for d in self.backward_graph.deltas if d.operand.op not in LEAVES]
        return _side_by_side("operand", inner)

    def operand_row(self, delta: Delta) -> Row:
        """Where the operand of a product lies on the way back."""
        return self.operands.get(delta.operand) or self._leaves[delta.operand]

    def delta_row(self, delta: Delta) -> Row:
        """Where the gradient of a product lies."""
        return self.deltas[delta.row]

    @cached_property
    def hoisted_weights(self) -> list[Weight]:
        """Weights of the hoisted products, in the order of their rows."""
        return [n.weights[0] for n in self.hoisted]

    def _with_input_ahead(self, outputs: list[tuple[Node, Row]]) -> Plan:
        """The products of the input run ahead of the rest."""
        hoisted = self._hoisted()
        rest = plan(outputs, self._leaves | hoisted)
        return rest.after(plan(list(hoisted.items()), self._leaves)) if hoisted else rest

    def _new_states(self) -> list[tuple[Node, Row]]:
        back = self.backward_graph.forward
        return [
            (n, Row(f"state.{s.name}", Kind.STEP, s.width)) for s, n in zip(back.states, back.new_states, strict=True)
        ]

    @cached_property
    def _leaves(self) -> dict[Node, Row]:
        forward = self.backward_graph.forward
        nodes = {*forward.nodes, *in_order(self.backward_graph.outputs)}
        inputs = {n: Row(n.name, Kind.STEP, n.width) for n in nodes if n.op == "input"}
        vectors = {n: Row(f"weights.{n.name}", Kind.FIXED, n.width) for n in nodes if n.op == "parameter"}
        vectors |= {n: Row("numbers", Kind.FIXED, "1", ("1",) * _place_of(n)) for n in nodes if n.op == "number"}
        return inputs | vectors | self._states(Kind.PREVIOUS, forward.states)

    def _states(self, kind: Kind, nodes: Iterable[Node]) -> dict[Node, Row]:
        states = self.backward_graph.forward.states
        return {n: Row(f"state.{s.name}", kind, s.width) for s, n in zip(states, nodes, strict=True)}

    def _hoisted(self) -> dict[Node, Row]:
        return _side_by_side("hoisted", self.hoisted, kind=Kind.AHEAD)

    def _saved(self) -> dict[Node, Row]:
        return _side_by_side("saved", self.saved)

    def _gradients(self) -> dict[Node, Row]:
        gradients = {n for n in in_order(self.backward_graph.outputs) if n.op == "gradient"}
        states = {s.name for s in self.graph.states}
        return {
            n: Row(f"carry.{n.name}", Kind.SAMPLE, n.width) if n.name in states else Row("d_output", Kind.STEP, n.width)
            for n in gradients
        }


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

"""The loops over time that a cell needs, each planned: inference, training, backward, one streaming step.

infer      forward, keeps the states alone             train      forward, keeps what backward needs
recompute  forward over known states, what train keeps  backward   from the last step to the first
stream     one step
"""

from __future__ import annotations

from dataclasses import dataclass

from gateflow.compiler.graph import with_sums_joined
from gateflow.compiler.node import Node
from gateflow.compiler.once import once
from gateflow.compiler.plan import Costs, Kind, Plan, Row
from gateflow.compiler.planning import plan
from gateflow.compiler.storage import Storage

__all__ = ["LOOPS", "Programs"]

LOOPS = ("infer", "train", "backward", "recompute", "stream")


@dataclass(frozen=True, eq=False)
class Programs:
    """The plans of a step's loops.

    Attributes:
        storage: which rows lie in memory, and where.
        costs: what the back end pays that runs them.
    """

    storage: Storage
    costs: Costs

    @once
    def infer(self) -> Plan:
        """Forward; keeps the states alone."""
        return self._with_input_ahead(self._new_states())

    @once
    def train(self) -> Plan:
        """Forward; keeps what the backward loop needs."""
        return self._with_input_ahead([*self._new_states(), *self.storage.saved.items()])

    @once
    def recompute(self) -> Plan:
        """Forward over known states; computes again what `train` keeps."""
        return self._with_input_ahead(list(self.storage.saved.items()))

    @once
    def stream(self) -> Plan:
        """One step; the products of the input are computed in it, in one sum with those of the state."""
        rows, leaves = [row for _, row in self._new_states()], self.storage.leaves
        # With one step there is no block of steps to run ahead of.
        nodes = with_sums_joined([node for node, _ in self._new_states()], leaves)
        return plan(list(zip(nodes, rows, strict=True)), leaves, self.costs)

    @once
    def backward(self) -> Plan:
        """From the last step to the first."""
        stored, back = self.storage, self.storage.backward_graph
        carried = [
            (n, Row(f"carry.{s.name}", Kind.SAMPLE, s.width))
            for s, n in zip(stored.graph.states, back.states, strict=True)
        ]
        x = [(back.x, Row("d_x", Kind.STEP, back.x.width))] if back.x is not None else []
        outputs = [*carried, *x, *stored.deltas.items(), *stored.operands.items()]
        # The new states are known, too: they lie in the histories.
        known = stored.leaves | stored.saved | stored.gradients | stored.states(Kind.STEP, back.forward.new_states)
        nodes = with_sums_joined([*(n for n, _ in outputs), *(node for _, node in back.parameters)], known)
        # The nodes beyond the outputs are gradients of vectors: summed in registers, they have no row.
        rows = [(n, row) for n, (_, row) in zip(nodes, outputs, strict=False)]
        names = [name for name, _ in back.parameters]
        return plan(rows, known, self.costs, list(zip(names, nodes[len(rows) :], strict=True)))

    def _with_input_ahead(self, outputs: list[tuple[Node, Row]]) -> Plan:
        """The products of the input run ahead of the rest."""
        hoisted, leaves = self.storage.hoisted, self.storage.leaves
        rest = plan(outputs, leaves | hoisted, self.costs)
        return rest.after(plan(list(hoisted.items()), leaves, self.costs)) if hoisted else rest

    def _new_states(self) -> list[tuple[Node, Row]]:
        forward = self.storage.backward_graph.forward
        pairs = zip(forward.states, forward.new_states, strict=True)
        return [(new, Row(f"state.{old.name}", Kind.STEP, old.width)) for old, new in pairs]  # two may be one node

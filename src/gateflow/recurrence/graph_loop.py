"""A captured step in a loop over time, by torch's own operations.

What `reference.py` is for a cell, this is for what was captured of it: it can be differentiated again and again, on any
device, in a process that does not have the cell's class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gateflow.backends import Sequences
from gateflow.compiler.interpret import interpret
from gateflow.recurrence import reference

__all__ = ["gradients_by_graph", "unroll_graph"]


def unroll_graph(run: Sequences) -> tuple[list[Tensor], list[Tensor]]:
    """The histories of all parts of the state, `[lines, size]`, and their final values."""
    graph, (grid, valid) = run.step.cell.graph, run.grid()
    names = [state.name for state in graph.states]
    lengths = None if valid is None else valid.sum(0)[:, 0]

    def in_order_of_steps(sequence: Tensor) -> Tensor:
        return reference.reverse(sequence, lengths) if run.reverse else sequence

    x = run.padded(run.x, grid)
    inputs = {"x": in_order_of_steps(x if lengths is None else reference.filled(x, lengths))}
    for name, hold in zip(run.step.cell.line_inputs, run.holds, strict=True):
        inputs[name] = in_order_of_steps(run.padded(hold.expand(run.x.shape[0], -1), grid))
    state, steps = list(run.states), []
    for t in range(run.steps):
        leaves = {name: sequence[t] for name, sequence in inputs.items()} | dict(zip(names, state, strict=True))
        new = interpret(graph.new_states, leaves, run.weights, run.sizes, run.step.numbers)
        # A new state may be one number for a row.
        new = [n.expand_as(old) for n, old in zip(new, state, strict=True)]
        steps.append(new)
        # `where`, not a mask as a factor: what a step makes of padding may be NaN.
        state = new if valid is None else [torch.where(valid[t], n, o) for n, o in zip(new, state, strict=True)]
    if not steps:
        return [run.x.new_zeros(0, s.shape[1]) for s in state], state
    histories = [in_order_of_steps(torch.stack(parts)).flatten(0, 1)[grid] for parts in zip(*steps, strict=True)]
    # An operator of torch must not return what it was given.
    return histories, [s.clone() if s is start else s for s, start in zip(state, run.states, strict=True)]


def gradients_by_graph(
    run: Sequences, d_output: Tensor | None, d_finals: Sequence[Tensor | None], *, create_graph: bool
) -> tuple[Any, list[Any], list[Any]]:
    """The same gradients from the captured graph in a loop, themselves differentiable."""
    # Views: where one input was made from another, that is not a part of this derivative.
    inputs = [run.x, *run.weights.values(), *run.states]
    with torch.enable_grad():
        leaves = [(t if create_graph else t.detach()).view_as(t) for t in inputs]
        leaves = [t if create_graph else t.requires_grad_() for t in leaves]
        n = 1 + len(run.weights)
        run = replace(run, x=leaves[0], weights=dict(zip(run.weights, leaves[1:n], strict=True)), states=leaves[n:])
        (output, *_), finals = unroll_graph(run)
    pairs = [(o, d) for o, d in zip([output, *finals], [d_output, *d_finals], strict=True) if d is not None]
    # torch refuses to be asked for the gradient of a tensor that has none.
    asked = [t for t in leaves if t.requires_grad]
    results = torch.autograd.grad(
        [o for o, _ in pairs],
        asked,
        [d for _, d in pairs],
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    found = dict(zip(map(id, asked), results, strict=True))
    d_x, *others = (found.get(id(t)) for t in leaves)
    return d_x, others[: n - 1], others[n - 1 :]

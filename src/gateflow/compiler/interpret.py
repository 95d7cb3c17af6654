"""Runs a graph with torch's own operations: slow, differentiable any number of times, on any device.

It judges `capture` and `differentiate` in tests, stands in where the compiled loops have no derivative, and runs what
was exported on a machine that builds no kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gateflow.compiler.node import Node, Weight, in_order
from gateflow.compiler.operations import OPERATIONS, ROW_MEAN

__all__ = ["interpret"]


def interpret(
    outputs: Iterable[Node],
    leaves: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    numbers: Sequence[float] = (),
) -> list[Tensor]:
    """Values of the outputs.

    Args:
        outputs: nodes.
        leaves: inputs, states and (as `d_NAME`) gradients by name, `[B, size]`.
        weights: by name.
        sizes: what the widths of rows are.
        numbers: the numbers that the run is given.
    """
    values: dict[Node, Tensor] = {}
    # Numbers are made of the weights' dtype and device, so that an exported program may be moved.
    like = next(iter(weights.values()))

    def compute(node: Node) -> Tensor:
        match node.op:
            case "constant":
                return like.new_tensor(node.values[0])
            case "number":
                return like.new_tensor(numbers[int(node.name.removeprefix("number_"))])
            case "parameter":
                return weights[node.name]
            case "input" | "state":
                return leaves[node.name]
            case "gradient":
                return leaves[f"d_{node.name}"]
            case "product":
                pairs = zip(node.weights, node.args, strict=True)
                return functools.reduce(torch.add, (_affine(w, values[a], weights, sizes) for w, a in pairs))
            case "row_mean":
                return ROW_MEAN.torch(values[node.args[0]])
            case _:
                return OPERATIONS[node.op].torch(*(values[a] for a in node.args))

    outputs = list(outputs)
    for node in in_order(outputs):  # arguments first, so that no chain is too deep for Python's stack
        values[node] = compute(node)
    return [values[output] for output in outputs]


def _affine(weight: Weight, operand: Tensor, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    height = sizes[weight.rows]
    rows = slice(weight.block * height, (weight.block + 1) * height)
    matrix = weights[weight.name][rows]
    if weight.transposed:
        return operand @ matrix
    return F.linear(operand, matrix, weights[weight.bias][rows] if weight.bias else None)

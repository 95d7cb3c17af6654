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
from gateflow.compiler.operations import OPERATIONS, TOTALS

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
                shape = () if node.width == "1" else (sizes[node.width],)
                return like.new_full(shape, node.values[0])
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
            case "size":
                return like.new_tensor(float(sizes[node.name]))
            case "epsilon":
                return like.new_tensor(torch.finfo(like.dtype).eps)
            case "index":
                return torch.arange(sizes[node.width], dtype=like.dtype, device=like.device)
            case "slice":
                begin, length, _ = map(int, node.values)
                return values[node.args[0]].narrow(-1, begin, length)
            case "cat":
                return _side_by_side([values[a] for a in node.args], node.values)
            case _ if node.op in TOTALS:
                return TOTALS[node.op].torch(values[node.args[0]])
            case _:
                return OPERATIONS[node.op].torch(*(values[a] for a in node.args))

    outputs = list(outputs)
    for node in in_order(outputs):  # arguments first, so that no chain is too deep for Python's stack
        values[node] = compute(node)
    return [values[output] for output in outputs]


def _side_by_side(parts: Sequence[Tensor], lengths: Sequence[float]) -> Tensor:
    """Rows as one; a part may be one number for each row, or for all rows."""
    samples = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([p.expand(*samples, int(n)) for p, n in zip(parts, lengths, strict=True)], -1)


def _affine(weight: Weight, operand: Tensor, weights: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Tensor:
    height = sizes[weight.rows]
    rows = slice(weight.block * height, (weight.block + 1) * height)
    matrix = weights[weight.name][rows]
    if weight.transposed:
        return operand @ matrix
    return F.linear(operand, matrix, weights[weight.bias][rows] if weight.bias else None)

"""Runs a graph with torch's own operations: what capture and differentiate are judged by."""

import operator

import torch
from torch.nn import functional as F

OPERATIONS = {
    **{name: getattr(operator, name) for name in "add sub mul neg lt le gt ge eq ne".split()},
    **{n: getattr(torch, n) for n in "sigmoid tanh relu exp log sqrt rsqrt abs".split()},
    "div": operator.truediv,
    "softplus": F.softplus,
    "minimum": lambda a, b: torch.minimum(*torch.broadcast_tensors(a, b)),
    "maximum": lambda a, b: torch.maximum(*torch.broadcast_tensors(a, b)),
    "where": lambda c, a, b: torch.where(c.bool(), a, b),
}


def interpret(outputs, leaves, cell):
    """Values of the outputs, given tensors for the leaves by name, and the cell that owns the weights."""
    values = {}
    weights = dict(cell.named_parameters())

    def value(node):
        if node not in values:
            values[node] = compute(node)
        return values[node]

    def compute(node):
        args = [value(a) for a in node.args]
        if node.op == "constant":
            return torch.tensor(node.values[0], dtype=next(iter(weights.values())).dtype)
        if node.op == "parameter":
            return weights[node.name]
        if node.op in ("input", "state", "gradient"):
            return leaves[("d_" if node.op == "gradient" else "") + node.name]
        if node.op == "row_mean":
            return args[0].mean(-1, keepdim=True)
        if node.op == "clamp":
            return args[0].clamp(*node.values)
        if node.op == "product":
            return sum(apply(w, a) for w, a in zip(node.weights, args, strict=True))
        return OPERATIONS[node.op](*args)

    def apply(weight, operand):
        matrix, H = weights[weight.name], cell.hidden_size
        rows = (
            slice(None)
            if weight.name not in ("weight_ih", "weight_hh")
            else slice(weight.block * H, (weight.block + 1) * H)
        )
        if weight.transposed:
            return operand @ matrix[rows]
        return F.linear(operand, matrix[rows], weights[weight.bias][rows] if weight.bias else None)

    return [value(output) for output in outputs]
